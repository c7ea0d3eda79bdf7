package protobuf_test

import (
	"fmt"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/lonng/nano/serialize/protobuf"
)

func Example() {
	s := protobuf.NewSerializer()
	payload, err := s.Marshal(wrapperspb.String("ann"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("% x\n", payload)

	var name wrapperspb.StringValue
	if err := s.Unmarshal(payload, &name); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(name.GetValue())

	_, err = s.Marshal(map[string]string{"name": "ann"})
	fmt.Println(err)
	// Output:
	// 0a 03 61 6e 6e
	// ann
	// protobuf: expected a protobuf message that is not nil
}
