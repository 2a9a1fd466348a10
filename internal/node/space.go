package node

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"waybill/configs"
	"waybill/embedded"
)

// space watches the free space of the data directory's file system. Below the mark new orders are refused while those that
// are there are finished; above it, with a little room against flapping, orders flow again.
type space struct {
	free   func() (int64, error) // bytes
	live   *configs.Live
	log    zerolog.Logger
	full   atomic.Bool
	moved  chan struct{} // holds one wish to look at once: the mark has been set anew
	forget func()        // ends listening to the mark
	quit   chan struct{}
	done   chan struct{}
}

const spaceInterval = 2 * time.Second

func newSpace(free func() (int64, error), live *configs.Live, log zerolog.Logger) *space {
	s := &space{free: free, live: live, log: log, moved: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	s.forget = live.OnChange(func(key string) {
		if key == configs.StorageLowSpace {
			select {
			case s.moved <- struct{}{}:
			default:
			}
		}
	})
	s.look()
	go s.run()
	return s
}

func (s *space) low() bool { return s.full.Load() }

func (s *space) stop() {
	s.forget()
	close(s.quit)
	<-s.done
}

func (s *space) run() {
	defer close(s.done)
	tick := time.NewTicker(spaceInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.look()
		case <-s.moved:
			s.look()
		case <-s.quit:
			return
		}
	}
}

func (s *space) look() {
	free, err := s.free()
	if err != nil {
		s.log.Warn().Err(err).Msg("the free space can't be read")
		return
	}
	mark := s.live.Int(configs.StorageLowSpace)
	switch full := s.full.Load(); {
	case !full && free < mark:
		s.full.Store(true)
		s.log.Error().Int64("free_bytes", free).Int64("mark_bytes", mark).Msg("little space is left: new orders are refused until there is more")
	case full && free > mark+mark/8:
		s.full.Store(false)
		s.log.Info().Int64("free_bytes", free).Msg("there is space again: orders are taken")
	}
}

// freeSpace reads how many bytes are free on the file system of a directory.
func freeSpace(dir string) func() (int64, error) {
	return func() (int64, error) {
		bytes, err := embedded.FreeSpace(dir)
		return int64(min(bytes, math.MaxInt64)), err
	}
}
