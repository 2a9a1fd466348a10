package lean

import (
	"fmt"

	"github.com/nats-io/nats.go"
)

// subscription is what a Conn hears.
type subscription struct {
	c              *Conn
	id             int
	subject, queue string
	handle         func(Msg)
}

// Subscribe implements Bus. handle is called by the goroutine that reads the connection; in a queue group of a connection with Local
// by others, too, at the same time.
func (c *Conn) Subscribe(subject, queue string, handle func(Msg)) (stop func() error, err error) {
	if !validSubject(subject) || queue != "" && !validSubject(queue) {
		return nil, nats.ErrBadSubject
	}
	c.mu.Lock()
	c.nextID++
	sub := &subscription{c: c, id: c.nextID, subject: subject, queue: queue, handle: handle}
	c.subs[sub.id] = sub
	c.o.Local.add(sub)
	s := c.current.Load()
	c.mu.Unlock()
	if s == nil {
		return sub.stop, nil // the next session begins with it
	}
	if err := s.hear(sub); err != nil {
		c.o.Local.remove(sub)
		c.mu.Lock()
		delete(c.subs, sub.id)
		c.mu.Unlock()
		return nil, err
	}
	return sub.stop, nil
}

func (sub *subscription) line(b []byte) []byte {
	b = append(append(b, "SUB "...), sub.subject...)
	if sub.queue != "" {
		b = append(append(b, ' '), sub.queue...)
	}
	return fmt.Appendf(b, " %d\r\n", sub.id)
}

// stop ends the subscription. What the server sent before it heard of that is handed over.
func (sub *subscription) stop() error {
	c := sub.c
	c.o.Local.remove(sub)
	c.mu.Lock()
	_, known := c.subs[sub.id]
	delete(c.subs, sub.id)
	s := c.current.Load()
	c.mu.Unlock()
	if s == nil || !known {
		return nil
	}
	return s.forget(sub)
}
