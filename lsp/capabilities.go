package lsp

import (
	"encoding/json"
	"slices"

	"go.lsp.dev/protocol"
)

// clientOf reads what the server wants to know of the editor; what is not as it should be counts as absent.
func clientOf(raw json.RawMessage) client {
	var p struct {
		Capabilities struct {
			General struct {
				PositionEncodings []string `json:"positionEncodings"`
			} `json:"general"`
			Window struct {
				WorkDoneProgress bool `json:"workDoneProgress"`
				ShowDocument     struct {
					Support bool `json:"support"`
				} `json:"showDocument"`
			} `json:"window"`
			Workspace struct {
				Diagnostics struct {
					RefreshSupport bool `json:"refreshSupport"`
				} `json:"diagnostics"`
				WorkspaceEdit struct {
					DocumentChanges    bool     `json:"documentChanges"`
					ResourceOperations []string `json:"resourceOperations"`
				} `json:"workspaceEdit"`
			} `json:"workspace"`
			TextDocument struct {
				Diagnostic *struct{} `json:"diagnostic"`
				Completion struct {
					CompletionItem struct {
						SnippetSupport bool `json:"snippetSupport"`
					} `json:"completionItem"`
					CompletionList struct {
						ItemDefaults []string `json:"itemDefaults"`
					} `json:"completionList"`
				} `json:"completion"`
				Hover struct {
					ContentFormat []string `json:"contentFormat"`
				} `json:"hover"`
			} `json:"textDocument"`
		} `json:"capabilities"`
	}
	_ = json.Unmarshal(raw, &p)
	c := p.Capabilities
	return client{
		utf8:     slices.Contains(c.General.PositionEncodings, "utf-8"),
		snippets: c.TextDocument.Completion.CompletionItem.SnippetSupport,
		defaults: slices.Contains(c.TextDocument.Completion.CompletionList.ItemDefaults, "editRange"),
		markdown: len(c.TextDocument.Hover.ContentFormat) == 0 || slices.Contains(c.TextDocument.Hover.ContentFormat, "markdown"),
		shows:    c.Window.ShowDocument.Support,
		progress: c.Window.WorkDoneProgress,
		pulls:    c.TextDocument.Diagnostic != nil && c.Workspace.Diagnostics.RefreshSupport,
		creates:  c.Workspace.WorkspaceEdit.DocumentChanges && slices.Contains(c.Workspace.WorkspaceEdit.ResourceOperations, "create"),
	}
}

// folders are the folders that the editor has open.
func folders(p *protocol.InitializeParams) []string {
	var list []string
	if open, ok := p.WorkspaceFolders.Get(); ok {
		for _, f := range open {
			if path, ok := pathOf(string(f.URI)); ok {
				list = append(list, path)
			}
		}
	}
	if len(list) == 0 && p.RootURI != nil {
		if path, ok := pathOf(string(*p.RootURI)); ok {
			list = append(list, path)
		}
	}
	return list
}

func (s *Server) capabilities() *protocol.InitializeResult {
	yes := true
	encoding := protocol.PositionEncodingKindUTF16
	if s.client.utf8 {
		encoding = protocol.PositionEncodingKindUTF8
	}
	sync := protocol.TextDocumentSyncKindIncremental
	result := &protocol.InitializeResult{
		ServerInfo: protocol.ServerInfo{Name: "sst", Version: protocol.NewOptional(s.opts.Version)},
		Capabilities: protocol.ServerCapabilities{
			PositionEncoding:           encoding,
			TextDocumentSync:           &protocol.TextDocumentSyncOptions{OpenClose: &yes, Change: &sync, Save: protocol.Boolean(true)},
			CompletionProvider:         &protocol.CompletionOptions{TriggerCharacters: []string{".", "\"", "'", "/", "(", " ", ":"}, ResolveProvider: &yes},
			HoverProvider:              protocol.Boolean(true),
			SignatureHelpProvider:      &protocol.SignatureHelpOptions{TriggerCharacters: []string{"(", ","}},
			DefinitionProvider:         protocol.Boolean(true),
			ReferencesProvider:         protocol.Boolean(true),
			DocumentHighlightProvider:  protocol.Boolean(true),
			RenameProvider:             &protocol.RenameOptions{PrepareProvider: &yes},
			DocumentSymbolProvider:     protocol.Boolean(true),
			WorkspaceSymbolProvider:    protocol.Boolean(true),
			FoldingRangeProvider:       protocol.Boolean(true),
			DocumentFormattingProvider: protocol.Boolean(true),
			CodeActionProvider:         &protocol.CodeActionOptions{CodeActionKinds: []protocol.CodeActionKind{protocol.CodeActionKindQuickFix}},
			SemanticTokensProvider: &protocol.SemanticTokensOptions{
				Legend: protocol.SemanticTokensLegend{TokenTypes: tokenTypes, TokenModifiers: tokenModifiers},
				Full:   &protocol.SemanticTokensFullDelta{Delta: &yes},
				Range:  protocol.Boolean(true),
			},
			DocumentLinkProvider:   &protocol.DocumentLinkOptions{},
			InlayHintProvider:      protocol.Boolean(true),
			SelectionRangeProvider: protocol.Boolean(true),
		},
	}
	if do := s.opts.Actions; do.Invoke != nil || do.Logs != nil || do.URL != nil || do.Built != nil {
		result.Capabilities.CodeLensProvider = &protocol.CodeLensOptions{}
		result.Capabilities.ExecuteCommandProvider = protocol.ExecuteCommandOptions{Commands: commands}
	}
	if s.client.pulls {
		result.Capabilities.DiagnosticProvider = &protocol.DiagnosticOptions{InterFileDependencies: true}
	}
	return result
}
