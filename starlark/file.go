package interp

import (
	"go.starlark.net/syntax"

	"sst/starlark/diag"
)

// Chunk is a piece of a file that begins at column 0: a statement with the comments before it.
type Chunk struct {
	Line int    // 1-based first line
	Text []byte // with its line ends; the chunks of a file concatenated are the file
}

// Statement is a chunk and what it parses to.
type Statement struct {
	Chunk
	Offset int           // byte offset of Text in the file
	Stmts  []syntax.Stmt // positions are those of the file; empty when Error is set
	Error  *diag.Diagnostic
}

// File is a parsed file, never nil, whatever its text.
type File struct {
	Path       string
	Src        []byte
	Statements []Statement
	Errors     diag.List
}

// Split cuts src at statements that start in column 0.
func Split(src []byte) []Chunk { return nil }

// Parse parses src statement by statement, so that a broken one leaves the rest usable.
func Parse(path string, src []byte) *File { return &File{Path: path, Src: src} }
