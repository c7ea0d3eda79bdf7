package lua

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"

	glua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"
)

const (
	// maxSource is how many bytes a file may have.
	maxSource = 1 << 20
	// maxNesting is how deep statements and expressions of a file may be nested.
	maxNesting = 1000
	// concatName is the name of the function that concatenates. No script can use it.
	concatName = "(concat)"
)

// compile compiles a file. The result is a function that takes the function for the operator
// ".." and returns the function of the file.
func compile(name string, source []byte) (proto *glua.FunctionProto, err error) {
	if bytes.HasPrefix(source, []byte("\x1b")) {
		return nil, fmt.Errorf("%s: bytecode is not accepted, want source text", name)
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: %v", name, p)
		}
	}()
	source = bytes.TrimPrefix(source, []byte("\xef\xbb\xbf")) // some editors mark UTF-8
	lines := bytes.Count(bytes.TrimSuffix(source, []byte("\n")), []byte("\n")) + 1
	chunk, err := parse.Parse(bytes.NewReader(source), name)
	if err == nil {
		chunk, err = boundConcat(chunk, lines)
	}
	if err == nil {
		proto, err = glua.Compile(chunk, name)
	}
	return proto, located(name, lines, err)
}

// located returns an error of the compiler as "file:line: text". lines is the length of the file.
func located(name string, lines int, err error) error {
	var (
		syntax  *parse.Error
		compile *glua.CompileError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &syntax) && syntax.Pos.Line < 0:
		return fmt.Errorf("%s:%d: %s at the end of the file", name, lines, syntax.Message)
	case errors.As(err, &syntax):
		return fmt.Errorf("%s:%d: %s near '%s'", name, syntax.Pos.Line, syntax.Message, syntax.Token)
	case errors.As(err, &compile):
		return fmt.Errorf("%s:%d: %s", name, compile.Line, compile.Message)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// boundConcat replaces the operator ".." by calls of a function that limits the length of the
// result. A script that doubles a text in a loop would otherwise use up the memory in a few
// steps.
func boundConcat(chunk []ast.Stmt, lines int) ([]ast.Stmt, error) {
	if err := replaceConcat(reflect.ValueOf(chunk), 0); err != nil {
		return nil, err
	}
	file := &ast.FunctionExpr{ParList: &ast.ParList{HasVargs: true, Names: []string{}}, Stmts: chunk}
	file.SetLine(1)
	file.SetLastLine(lines)
	argument := &ast.LocalAssignStmt{Names: []string{concatName}, Exprs: []ast.Expr{&ast.Comma3Expr{}}}
	result := &ast.ReturnStmt{Exprs: []ast.Expr{file}}
	return []ast.Stmt{argument, result}, nil
}

// replaceConcat replaces the operator in all nodes that a value leads to.
func replaceConcat(node reflect.Value, depth int) error {
	switch node.Kind() {
	case reflect.Interface:
		if node.IsNil() {
			return nil
		}
		if depth++; depth > maxNesting {
			return fmt.Errorf("more than %d levels of statements or expressions", maxNesting)
		}
		if op, ok := reflect.TypeAssert[*ast.StringConcatOpExpr](node); ok {
			node.Set(reflect.ValueOf(concatCall(op)))
		}
		return replaceConcat(node.Elem(), depth)
	case reflect.Pointer:
		if node.IsNil() {
			return nil
		}
		return replaceConcat(node.Elem(), depth)
	case reflect.Slice:
		for i := range node.Len() {
			if err := replaceConcat(node.Index(i), depth); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for i := range node.NumField() {
			if f := node.Type().Field(i); !f.IsExported() || f.Anonymous {
				continue
			}
			if err := replaceConcat(node.Field(i), depth); err != nil {
				return err
			}
		}
	}
	return nil
}

// concatCall returns the call for a chain of operators.
func concatCall(op *ast.StringConcatOpExpr) *ast.FuncCallExpr {
	f := &ast.IdentExpr{Value: concatName}
	call := &ast.FuncCallExpr{Func: f, AdjustRet: true}
	f.SetLine(op.Line())
	call.SetLine(op.Line())
	call.SetLastLine(op.LastLine())
	var last ast.Expr = op
	for {
		next, ok := last.(*ast.StringConcatOpExpr)
		if !ok {
			break
		}
		call.Args = append(call.Args, next.Lhs)
		last = next.Rhs
	}
	switch last := last.(type) { // the operator takes one value of a call
	case *ast.FuncCallExpr:
		last.AdjustRet = true
	case *ast.Comma3Expr:
		last.AdjustRet = true
	}
	call.Args = append(call.Args, last)
	return call
}

// concat is the operator "..".
func (v *vm) concat(l *glua.LState) int {
	at := l.GetTop() - 1
	right := l.Get(at + 1)
	for at > 0 {
		if glua.LVCanConvToString(l.Get(at)) && glua.LVCanConvToString(right) {
			first := at
			for first > 1 && glua.LVCanConvToString(l.Get(first-1)) {
				first--
			}
			size := len(right.String())
			for i := first; i <= at; i++ {
				size += len(l.Get(i).String())
			}
			v.chargeBytes(l, size)
			var b strings.Builder
			b.Grow(size)
			for i := first; i <= at; i++ {
				b.WriteString(l.Get(i).String())
			}
			b.WriteString(right.String())
			right, at = glua.LString(b.String()), first-1
			continue
		}
		left := l.Get(at)
		method := l.GetMetaField(left, "__concat")
		if method == glua.LNil {
			method = l.GetMetaField(right, "__concat")
		}
		if method == glua.LNil {
			if glua.LVCanConvToString(left) {
				left = right
			}
			l.RaiseError("attempt to concatenate a %s value", left.Type())
		}
		l.Push(method)
		l.Push(left)
		l.Push(right)
		l.Call(2, 1)
		right = l.Get(-1)
		l.Pop(1)
		at--
	}
	l.Push(right)
	return 1
}
