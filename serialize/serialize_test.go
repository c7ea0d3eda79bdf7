package serialize_test

import (
	"fmt"
	"strconv"

	"github.com/lonng/nano/serialize"
)

// decimal is a payload codec of a program. It writes whole numbers as text.
type decimal struct{}

func (decimal) Marshal(v any) ([]byte, error) { return decimal{}.MarshalAppend(nil, v) }

func (decimal) MarshalAppend(dst []byte, v any) ([]byte, error) {
	n, ok := v.(int64)
	if !ok {
		return dst, fmt.Errorf("decimal: got %T, want int64", v)
	}
	return strconv.AppendInt(dst, n, 10), nil
}

func (decimal) Unmarshal(data []byte, v any) error {
	p, ok := v.(*int64)
	if !ok {
		return fmt.Errorf("decimal: got %T, want *int64", v)
	}
	n, err := strconv.ParseInt(string(data), 10, 64)
	if err != nil {
		return err
	}
	*p = n
	return nil
}

func (decimal) CopiesInput() bool { return true }

// ExampleSerializer checks that a program's serializer needs only two methods. The other
// two are optional.
func ExampleSerializer() {
	var s serialize.Serializer = decimal{}
	_, appends := s.(serialize.AppendMarshaler)
	copier, ok := s.(serialize.InputCopier)
	fmt.Println(appends, ok && copier.CopiesInput())

	payload, err := s.Marshal(int64(250))
	fmt.Println(string(payload), err)

	var n int64
	err = s.Unmarshal(payload, &n)
	fmt.Println(n, err)
	// Output:
	// true true
	// 250 <nil>
	// 250 <nil>
}
