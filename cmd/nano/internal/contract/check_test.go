package contract

import "testing"

// A contract of a file may lack parts.
func TestParseChecks(t *testing.T) {
	for text, want := range map[string]string{
		`{"routes":[{"route":"a"}]}`:                                                       "contract: the request of route a has no type",
		`{"routes":[{"route":"a","request":{"kind":"list"}}]}`:                             "contract: the element of request of route a has no type",
		`{"routes":[{"route":"a","request":{"kind":"map","key":{"kind":"int"}}}]}`:         "contract: the value of request of route a has no type",
		`{"routes":[{"route":"a","request":{"kind":"raw"},"reply":{"kind":"map"}}]}`:       "contract: the key of reply of route a has no type",
		`{"routes":[{"route":"a","request":{"kind":"ref","name":"x"}}]}`:                   `contract: the request of route a is "x", which is not among the types`,
		`{"pushes":[{"route":"a"}]}`:                                                       "contract: the push a has no type",
		`{"rooms":[{"kind":"a"}]}`:                                                         "contract: the state of room a has no type",
		`{"rooms":[{"kind":"a","state":{"kind":"any"},"messages":[{"route":"b"}]}]}`:       "contract: the request of message a b has no type",
		`{"rooms":[{"kind":"a","state":{"kind":"any"},"join":{"kind":"enum"}}]}`:           "contract: the element of join of room a has no type",
		`{"types":{"x":null}}`:                                                             "contract: the type x has no type",
		`{"types":{"x":{"kind":"struct","fields":[{"name":"f"}]}}}`:                        "contract: the field f of type x has no type",
		`{"types":{"x":{"kind":"message","fields":[{"name":"f","type":{"kind":"map"}}]}}}`: "contract: the key of field f of type x has no type",
		`{"types":{"x":{"kind":"message","fields":[{"name":"f","wire":"map","type":{"kind":"map","key":{"kind":"string"},"elem":{"kind":"string"}}}]}}}`: `contract: the field f of type x has the encoding "map", want that of a map`,
		`{"types":{}}`: "",
	} {
		got := ""
		if _, err := Parse([]byte(`{"version":1,` + text[1:])); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("Parse(%s) = %q, want %q", text, got, want)
		}
	}
}
