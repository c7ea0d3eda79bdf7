package cluster_test

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if flag.Parse(); testing.Short() {
		_ = flag.Set("test.parallel", "4") // the tests wait more than they compute
	}
	goleak.VerifyTestMain(m)
}
