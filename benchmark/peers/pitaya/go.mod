module github.com/lonng/nano/benchmark/peers/pitaya

go 1.26.0

require github.com/topfreegames/pitaya/v3 v3.0.0
