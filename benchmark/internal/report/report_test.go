package report_test

import (
	"strings"
	"testing"

	"github.com/lonng/nano/benchmark/internal/report"
)

func TestTable(t *testing.T) {
	var out strings.Builder
	report.Table(&out, 1, [][]string{{"case", "CPU"}, {"a", "10 µs"}, {"longer", "1"}})
	report.Verdict(&out, 2)
	want := `| case   |   CPU |
|--------|------:|
| a      | 10 µs |
| longer |     1 |

2 figures fall short
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}
