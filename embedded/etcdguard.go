package embedded

import (
	"context"
	"fmt"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A panic in a goroutine that serves a request would end the process. It is caught here, and etcd is taken for one that gave up:
// the panic may have left a lock held or a transaction open, so what it was in can't be trusted to go on.
//
// hook, which may be nil, is called within each request, for tests.

func (l *etcdLog) guards(hook func(method string)) []grpc.ServerOption {
	called := func(method string) {
		if hook != nil {
			hook(method)
		}
	}
	return []grpc.ServerOption{ // not chained: so they stand around etcd's own interceptors
		grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (res any, err error) {
			defer l.caught(info.FullMethod, &err)
			called(info.FullMethod)
			return handler(ctx, req)
		}),
		grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
			defer l.caught(info.FullMethod, &err)
			called(info.FullMethod)
			return handler(srv, stream)
		}),
	}
}

// caught ends a panic of the function that defers it, and notes it as etcd's end.
func (l *etcdLog) caught(where string, err *error) {
	p := recover()
	if p == nil {
		return
	}
	l.log.Error().Str("where", where).Interface("panic", p).Bytes("stack", debug.Stack()).Msg("etcd panicked")
	l.gaveUp(fmt.Sprintf("it panicked in %s: %v", where, p))
	*err = status.Error(codes.Unavailable, "etcd is being restarted")
}
