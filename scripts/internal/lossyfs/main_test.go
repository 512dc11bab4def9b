package lossyfs

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if Available() == nil { // a test that is killed leaves nothing mounted
		if err := OwnMounts(); err != nil {
			println("lossyfs:", err.Error())
			os.Exit(1)
		}
	}
	goleak.VerifyTestMain(m)
}
