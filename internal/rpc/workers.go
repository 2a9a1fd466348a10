package rpc

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// maxParked bounds the workers that a server keeps while there is nothing to do. Beyond it they come and go with the
// requests, whose number the limit bounds. At rest it keeps keptParked.
const (
	maxParked  = 256
	keptParked = 64
)

// workers runs requests on goroutines that are used again: a fresh one would grow its stack anew for each request.
// Every request has a worker of its own at once, so one that waits for another request can't starve it.
type workers struct {
	// free counts the workers that have nothing to do and have not been promised a request. Whoever takes one off may put
	// a request into the queue, and a worker will come for it.
	free  atomic.Int64
	idle  atomic.Int64   // free at the last rest
	queue chan *exchange // hardly ever blocks: it has room for as many as can be free; nil ends a worker
	spare chan *worker   // of requests that are served where they arrive
	quit  chan struct{}
	wg    sync.WaitGroup

	mu  sync.Mutex
	all map[*worker]struct{}
}

// worker is one of the goroutines, or stands for one on which a request arrived. Its requests' contexts have a parent of the worker's own,
// so that one request can be given up.
type worker struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	at     atomic.Pointer[boundedContext] // of the request at work; nil before there is one, and between two
}

func newWorkers() *workers {
	return &workers{queue: make(chan *exchange, maxParked), spare: make(chan *worker, keptParked), quit: make(chan struct{}), all: make(map[*worker]struct{})}
}

// run serves x on a worker and returns at once. x has entered l, and leaves it when it is done.
func (w *workers) run(ctx context.Context, x *exchange, l *limit) {
	if w.promise() {
		w.queue <- x
		return
	}
	w.wg.Go(func() { w.work(ctx, x, l) })
}

// promise takes one off the free workers, where there is one.
func (w *workers) promise() bool {
	for n := w.free.Load(); n > 0; n = w.free.Load() {
		if w.free.CompareAndSwap(n, n-1) {
			return true
		}
	}
	return false
}

func (w *workers) work(ctx context.Context, x *exchange, l *limit) {
	own := new(worker)
	w.enlist(own)
	defer w.dismiss(own)
	for {
		own.prepare(ctx)
		x.worker = own
		serve(own.ctx, x, l)
		if !w.park() {
			return
		}
		select {
		case x = <-w.queue:
		case <-w.quit:
			select {
			case x = <-w.queue: // promised before the end
			default:
				return
			}
		}
		if x == nil {
			return
		}
	}
}

// rest ends workers, as many as were free now and at the last call, but for those that are kept.
func (w *workers) rest() {
	for range min(w.idle.Swap(w.free.Load()), w.free.Load()) - keptParked {
		if !w.promise() {
			return
		}
		w.queue <- nil
	}
}

// visit serves x on the caller's goroutine. x has entered l, and has left it when visit returns.
func (w *workers) visit(ctx context.Context, x *exchange, l *limit) {
	var own *worker
	select {
	case own = <-w.spare:
	default:
		own = new(worker)
		w.enlist(own)
	}
	own.prepare(ctx)
	x.worker = own
	serve(own.ctx, x, l)
	select {
	case w.spare <- own:
	default:
		w.dismiss(own)
	}
}

func (w *workers) enlist(own *worker) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all[own] = struct{}{}
}

func (w *workers) dismiss(own *worker) {
	w.mu.Lock()
	delete(w.all, own)
	w.mu.Unlock()
	own.cancel(nil)
}

// prepare makes the parent of the requests' contexts, where there is none or the last request was given up.
func (own *worker) prepare(root context.Context) {
	if own.ctx == nil || own.ctx.Err() != nil {
		own.ctx, own.cancel = context.WithCancelCause(root)
	}
}

// park offers the worker for another request, unless enough others wait.
func (w *workers) park() bool {
	for n := w.free.Load(); n < maxParked; n = w.free.Load() {
		if w.free.CompareAndSwap(n, n+1) {
			return true
		}
	}
	return false
}

// serve takes one request through the onion. Its error was answered and counted there.
func serve(ctx context.Context, x *exchange, l *limit) {
	defer leave(x.endpoint, l)
	if brake, arrived := x.endpoint.brake, x.arrived; brake != nil {
		began := time.Now()
		err := x.endpoint.serve(ctx, x)
		brake.leave(arrived, began, time.Now(), x.outside, err == nil)
	} else {
		_ = x.endpoint.serve(ctx, x)
	}
	x.release()
}

// stop ends the parked workers, and the others after their request. It waits for them all if none has a request any more.
func (w *workers) stop(wait bool) {
	close(w.quit)
	if wait {
		w.wg.Wait()
	}
	for {
		select {
		case own := <-w.spare:
			w.dismiss(own)
		default:
			return
		}
	}
}
