package chaos_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(nodeEnv) != "" {
		nodeProcess()
		return
	}
	goleak.VerifyTestMain(m)
}
