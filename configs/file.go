package configs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"waybill/internal/fault"
)

// maxFile bounds the configuration file; a real one has a few hundred bytes.
const maxFile = 1 << 20

// readFile takes the values of a YAML file: one flat mapping whose keys are those of Options, with underscores or hyphens.
func (c *Config) readFile(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.Wrap(err, fault.NotFound, "the configuration file %s is not there", path).WithField("config")
	case err != nil:
		return fault.Wrap(err, fault.InvalidArgument, "the configuration file %s can't be read", path).WithField("config")
	case info.Size() > maxFile:
		return fault.Invalid("config", "the configuration file %s has %d bytes; %d are enough for any", path, info.Size(), maxFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fault.Wrap(err, fault.InvalidArgument, "the configuration file %s can't be read", path).WithField("config")
	}
	return c.readYAML(path, text)
}

func (c *Config) readYAML(path string, text []byte) error {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return syntaxError(path, err)
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType || doc.Body.Type() == ast.NullType {
			continue
		}
		if body != nil {
			return fault.Invalid("config", "%s: the file holds more than one YAML document; one is enough", at(path, doc.Body))
		}
		body = doc.Body
	}
	var pairs []*ast.MappingValueNode
	switch n := body.(type) {
	case nil:
		return nil
	case *ast.MappingNode:
		pairs = n.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{n}
	default:
		return fault.Invalid("config", "%s: the file must be lines of `key: value`, such as `site: local`", at(path, body))
	}
	seen := map[string]bool{}
	for _, pair := range pairs {
		name := pair.Key.GetToken().Value
		source := at(path, pair.Key)
		o, ok := lookupOption(name)
		if !ok {
			return unknown(name, source, Option.Key)
		}
		if seen[o.Name] { // the parser catches a key that is spelled alike, not nats_addr beside nats-addr
			return fault.Invalid(o.Key(), "%s (%s) stands in the file twice", o.Key(), source)
		}
		seen[o.Name] = true
		value, err := plain(o, pair.Value)
		if err != nil {
			return fault.Invalid(o.Key(), "%s (%s) %s", o.Key(), source, err)
		}
		if err := c.assign(o, value, source); err != nil {
			return err
		}
	}
	return nil
}

// plain returns a value in the form that Option.set takes. A number or a truth value is refused: it would have to be
// turned back into the text that somebody meant, and 08 or 1_0 come back as something else.
func plain(o Option, node ast.Node) (string, error) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return strings.TrimRight(n.Value.Value, "\n"), nil
	case *ast.NullNode:
		return "", errors.New("has no value: remove the line for the default, or write \"\" for an empty one")
	case *ast.SequenceNode:
		if o.Type != TypeList {
			return "", errors.New("takes one value, not a list")
		}
		parts := make([]string, 0, len(n.Values))
		for _, v := range n.Values {
			s, ok := v.(*ast.StringNode)
			if !ok || s.Value == "" || strings.Contains(s.Value, ",") {
				return "", fmt.Errorf("takes a list of plain texts; %.40q is none", v.String())
			}
			parts = append(parts, s.Value)
		}
		return strings.Join(parts, ","), nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return "", fmt.Errorf("takes text: put it between quotes, \"%.40s\"", n.GetToken().Value)
	}
	if o.Type == TypeList {
		return "", errors.New("takes a list, such as [a, b]")
	}
	return "", errors.New("takes one plain text")
}

func at(path string, node ast.Node) string {
	return fmt.Sprintf("%s:%d", path, node.GetToken().Position.Line)
}

// syntaxError is the parser's error in one line.
func syntaxError(path string, err error) error {
	var y yaml.Error
	if !errors.As(err, &y) || y.GetToken() == nil || y.GetToken().Position == nil {
		message, _, _ := strings.Cut(err.Error(), "\n")
		return fault.Invalid("config", "%s is not YAML: %s", path, message)
	}
	message, _, _ := strings.Cut(y.GetMessage(), "\n")
	return fault.Invalid("config", "%s:%d is not YAML: %s", path, y.GetToken().Position.Line, message)
}
