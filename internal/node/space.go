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
	dir  string
	live *configs.Live
	log  zerolog.Logger
	full atomic.Bool
	quit chan struct{}
	done chan struct{}
}

const spaceInterval = 2 * time.Second

func newSpace(dir string, live *configs.Live, log zerolog.Logger) *space {
	s := &space{dir: dir, live: live, log: log, quit: make(chan struct{}), done: make(chan struct{})}
	s.look()
	go s.run()
	return s
}

func (s *space) low() bool { return s.full.Load() }

func (s *space) stop() {
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
		case <-s.quit:
			return
		}
	}
}

func (s *space) look() {
	bytes, err := embedded.FreeSpace(s.dir)
	if err != nil {
		s.log.Warn().Err(err).Msg("the free space can't be read")
		return
	}
	free, mark := int64(min(bytes, math.MaxInt64)), s.live.Int(configs.StorageLowSpace)
	switch full := s.full.Load(); {
	case !full && free < mark:
		s.full.Store(true)
		s.log.Error().Int64("free_bytes", free).Int64("mark_bytes", mark).Msg("little space is left: new orders are refused until there is more")
	case full && free > mark+mark/8:
		s.full.Store(false)
		s.log.Info().Int64("free_bytes", free).Msg("there is space again: orders are taken")
	}
}
