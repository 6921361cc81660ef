// Package lsp is the language server: it answers an editor over stdin and
// stdout, about unsaved text too, from the metadata of the CDK, the prelude and
// the project's own files. It runs nothing: no Node, no network, no code of the project.
//
// What is true of a file is asked of packages starlark and builtins, so that
// the editor and the build never disagree; this package owns the conversation
// (Server), the texts as the editor has them (snapshot, document), where in a text the cursor
// stands (cursor), and one file per request. Start from Server.
package lsp
