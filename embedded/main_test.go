package embedded

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

// panicked says that a test has had etcd panic in a part that other parts of that etcd wait for, for ever.
var panicked atomic.Bool

func TestMain(m *testing.M) {
	code := m.Run()
	options := []goleak.Option{
		// What a start of etcd on damaged data leaves behind: it waits for a goroutine of its own that is gone.
		goleak.IgnoreAnyFunction("go.etcd.io/etcd/server/v3/storage.OpenBackend"),
		goleak.IgnoreAnyFunction("waybill/embedded.discard"),
		// etcd's and gRPC's packages start these once per process and never end them.
		goleak.IgnoreTopFunction("gopkg.in/natefinch/lumberjack%2ev2.(*Logger).millRun"),
		goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"),
	}
	if panicked.Load() {
		options = append(options,
			goleak.IgnoreAnyFunction("go.etcd.io/etcd/server/v3/storage/backend.(*backend).run"),
			goleak.IgnoreAnyFunction("go.etcd.io/etcd/server/v3/storage/backend.(*backend).Close"),
			goleak.IgnoreAnyFunction("go.etcd.io/etcd/server/v3/etcdserver.(*EtcdServer).HardStop"),
			goleak.IgnoreAnyFunction("go.etcd.io/etcd/server/v3/etcdserver.(*EtcdServer).run"),
			goleak.IgnoreAnyFunction("go.etcd.io/etcd/server/v3/etcdserver/api/v3compactor.(*Revision).Run.func1"),
		)
	}
	if code == 0 {
		if err := goleak.Find(options...); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}
