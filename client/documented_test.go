package client

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// Every exported call has an example with an output, and so one that runs. ExampleConnect is that of the options.
func TestEveryCallHasAnExample(t *testing.T) {
	examples, calls := map[string]bool{}, []string{}
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		test := strings.HasSuffix(name, "_test.go")
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			switch {
			case !ok:
			case test && strings.HasPrefix(f.Name.Name, "Example"):
				for _, c := range file.Comments {
					if c.Pos() > f.Pos() && c.End() < f.End() && strings.HasPrefix(c.Text(), "Output:") {
						examples[f.Name.Name] = true
					}
				}
			case !test && f.Name.IsExported() && !strings.HasPrefix(f.Name.Name, "With") && f.Name.Name != "Error" && f.Name.Name != "Unwrap":
				calls = append(calls, strings.TrimPrefix(receiver(f)+"_"+f.Name.Name, "_"))
			}
		}
	}
	for _, call := range calls {
		if !examples["Example"+call] && call != "dialer_InProcessConn" && call != "dialer_Dial" {
			t.Errorf("%s has no example that runs", call)
		}
	}
	if len(calls) < 70 {
		t.Errorf("only %d calls were found", len(calls))
	}
}

func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	of := f.Recv.List[0].Type
	if pointer, ok := of.(*ast.StarExpr); ok {
		of = pointer.X
	}
	return of.(*ast.Ident).Name
}
