package embedded

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// What a start of etcd on damaged data leaves behind: it waits for a goroutine of its own that is gone.
		goleak.IgnoreAnyFunction("go.etcd.io/etcd/server/v3/storage.OpenBackend"),
		goleak.IgnoreAnyFunction("waybill/embedded.discard"),
		// etcd's and gRPC's packages start these once per process and never end them.
		goleak.IgnoreTopFunction("gopkg.in/natefinch/lumberjack%2ev2.(*Logger).millRun"),
		goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"),
	)
}
