module github.com/lonng/nano/examples/demo/mahjong

go 1.26.0
