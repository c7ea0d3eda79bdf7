module github.com/lonng/nano/benchmark/peers/wire

go 1.26.0
