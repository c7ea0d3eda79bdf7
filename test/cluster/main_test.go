package cluster_test

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "4") // the tests wait more than they compute; the flag -parallel overrides it
	goleak.VerifyTestMain(m)
}
