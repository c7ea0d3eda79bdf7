package json_test

import (
	"fmt"

	"github.com/lonng/nano/serialize/json"
)

func Example() {
	type join struct {
		Name string `json:"name"`
		Room int    `json:"room"`
	}
	s := json.NewSerializer()
	payload, err := s.Marshal(join{Name: "ann", Room: 7})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(payload))

	var got join
	if err := s.Unmarshal(payload, &got); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(got.Name, got.Room)
	// Output:
	// {"name":"ann","room":7}
	// ann 7
}
