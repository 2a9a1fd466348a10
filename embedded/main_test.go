package embedded

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	planted = obeyKey
	RunAsEtcd()
	if keeper, code := beKeeper(); keeper {
		os.Exit(code)
	}
	flag.Parse()
	if err := flag.Set("test.parallel", "10"); err != nil { // most of them wait
		panic(err)
	}
	goleak.VerifyTestMain(m,
		// etcd's packages start these once per process and never end them.
		goleak.IgnoreTopFunction("gopkg.in/natefinch/lumberjack%2ev2.(*Logger).millRun"),
		goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"),
	)
}

// plantKey is the key by which a test has etcd's process do wrong.
const plantKey = "/plant"

// obeyKey has this process, which is etcd, do wrong as soon as it is told how.
func obeyKey(what string, e *embed.Etcd) {
	if what != plantKey {
		return
	}
	client := v3client.New(e.Server)
	go func() {
		for change := range client.Watch(context.Background(), plantKey) {
			for _, event := range change.Events {
				switch how := string(event.Kv.Value); how {
				case "panic":
					panic("planted")
				case "fatal":
					e.GetLogger().Fatal("planted: no space left on device")
				case "stand still where it is applied": // its status is told all the same
					e.Server.Backend().SetTxPostLockInsideApplyHook(func() { select {} })
					go func() { _, _ = client.Put(context.Background(), "/any", "") }() // it has no answer
				case "panic where it is applied": // its scheduler catches that
					e.Server.Backend().SetTxPostLockInsideApplyHook(func() { panic("planted") })
					_, err := client.Put(context.Background(), "/any", "")
					fmt.Fprintln(os.Stderr, err)
				}
			}
		}
	}()
}
