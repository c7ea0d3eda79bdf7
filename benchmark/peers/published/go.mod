module github.com/lonng/nano/benchmark/peers/published

go 1.26.0

require github.com/lonng/nano v0.0.0

replace github.com/lonng/nano => ../../..
