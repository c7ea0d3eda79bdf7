package nano_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(childEnv) != "":
		child()
		return
	case os.Getenv(nodeEnv) != "":
		nodeProcess()
		return
	}
	goleak.VerifyTestMain(m)
}
