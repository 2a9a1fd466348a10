package quick

import "unicode/utf8"

// Skip is the length of the plain value that data begins with, in which no name is given twice in one object; 0 where there is none. What
// follows is the caller's to look at: of 1.5 the 1 is plain.
func Skip(data []byte) int {
	s := scanner{data: data}
	if !s.skip(maxDepth) {
		return 0
	}
	return s.at
}

const (
	maxDepth = 32
	maxNames = 64 // members so far of the objects that are open: each name is compared with those before it in its object
)

// scanner goes through JSON.
type scanner struct {
	data  []byte
	at    int // a slice that shrinks would be a pointer to write, and the collector would want to know of each
	names [maxNames]struct{ from, to int }
	named int
}

// skip takes any value.
func (s *scanner) skip(depth int) bool {
	if s.at == len(s.data) || depth == 0 {
		return false
	}
	switch s.data[s.at] {
	case '"':
		_, ok := s.quoted()
		return ok
	case '{':
		return s.skipObject(depth - 1)
	case '[':
		return s.skipArray(depth - 1)
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	s.byte('-')
	_, ok := s.digits()
	return ok
}

func (s *scanner) skipObject(depth int) bool {
	s.at++
	if s.byte('}') {
		return true
	}
	first := s.named
	for {
		if _, ok := s.name(first); !ok || !s.skip(depth) {
			return false
		}
		if !s.byte(',') {
			s.named = first
			return s.byte('}')
		}
	}
}

// name takes a member's name and the colon, where none of the names from the first of its object on is the same.
func (s *scanner) name(first int) ([]byte, bool) {
	from := s.at + 1
	name, ok := s.quoted()
	if !ok || !s.byte(':') || s.named == maxNames {
		return nil, false
	}
	for _, known := range s.names[first:s.named] {
		if string(s.data[known.from:known.to]) == string(name) {
			return nil, false
		}
	}
	s.names[s.named].from, s.names[s.named].to = from, from+len(name)
	s.named++
	return name, true
}

func (s *scanner) skipArray(depth int) bool {
	s.at++
	if s.byte(']') {
		return true
	}
	for s.skip(depth) {
		if !s.byte(',') {
			return s.byte(']')
		}
	}
	return false
}

// byte takes c, where it comes next.
func (s *scanner) byte(c byte) bool {
	if s.at == len(s.data) || s.data[s.at] != c {
		return false
	}
	s.at++
	return true
}

// word takes w, where it comes next.
func (s *scanner) word(w string) bool {
	if len(s.data)-s.at < len(w) || string(s.data[s.at:s.at+len(w)]) != w {
		return false
	}
	s.at += len(w)
	return true
}

// digits takes a number of at most 18 digits, the first of which is 0 only where it is alone.
func (s *scanner) digits() (n int64, ok bool) {
	rest, i := s.data[s.at:], 0
	for ; i < len(rest) && i <= 18; i++ {
		c := rest[i]
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + int64(c-'0')
	}
	if i == 0 || i > 18 || i > 1 && rest[0] == '0' {
		return 0, false
	}
	s.at += i
	return n, true // what follows is not plain unless it ends the member
}

// quoted takes a string, and returns what stands between its quotes.
func (s *scanner) quoted() ([]byte, bool) {
	if !s.byte('"') {
		return nil, false
	}
	rest := s.data[s.at:]
	for i, c := range rest {
		if letters[c] {
			continue
		}
		if c >= utf8.RuneSelf {
			return s.quotedWide(i)
		}
		s.at += i + 1
		return rest[:i], c == '"'
	}
	return nil, false
}

// quotedWide is quoted for a string that has more than ASCII from the byte on.
func (s *scanner) quotedWide(from int) ([]byte, bool) {
	rest := s.data[s.at:]
	for i := from; i < len(rest); i++ {
		if c := rest[i]; letters[c] || c >= utf8.RuneSelf {
			continue
		}
		s.at += i + 1
		return rest[:i], rest[i] == '"' && utf8.Valid(rest[from:i])
	}
	return nil, false
}
