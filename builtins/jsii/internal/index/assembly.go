package index

// The parts of a jsii assembly that the index keeps.

type assembly struct {
	Name       string               `json:"name"`
	Version    string               `json:"version"`
	Readme     *readme              `json:"readme"`
	Submodules map[string]submodule `json:"submodules"`
	Types      map[string]*jsType   `json:"types"`
}

type submodule struct {
	Readme *readme `json:"readme"`
}

type readme struct {
	Markdown string `json:"markdown"`
}

type jsType struct {
	FQN         string      `json:"fqn"`
	Assembly    string      `json:"assembly"`
	Namespace   string      `json:"namespace"`
	Name        string      `json:"name"`
	Kind        string      `json:"kind"`
	Abstract    bool        `json:"abstract"`
	Datatype    bool        `json:"datatype"`
	Base        string      `json:"base"`
	Interfaces  []string    `json:"interfaces"`
	Docs        docs        `json:"docs"`
	Initializer *callable   `json:"initializer"`
	Methods     []*callable `json:"methods"`
	Properties  []*property `json:"properties"`
	Members     []*property `json:"members"` // of an enum: name and docs
}

type callable struct {
	Name       string `json:"name"`
	Protected  bool   `json:"protected"`
	Static     bool   `json:"static"`
	Abstract   bool   `json:"abstract"`
	Variadic   bool   `json:"variadic"`
	Docs       docs   `json:"docs"`
	Parameters []struct {
		Name     string  `json:"name"`
		Type     typeRef `json:"type"`
		Optional bool    `json:"optional"`
		Variadic bool    `json:"variadic"`
		Docs     docs    `json:"docs"`
	} `json:"parameters"`
	Returns *struct {
		Type     typeRef `json:"type"`
		Optional bool    `json:"optional"`
	} `json:"returns"`
}

type property struct {
	Name      string  `json:"name"`
	Protected bool    `json:"protected"`
	Static    bool    `json:"static"`
	Const     bool    `json:"const"`
	Immutable bool    `json:"immutable"`
	Optional  bool    `json:"optional"`
	Type      typeRef `json:"type"`
	Docs      docs    `json:"docs"`
}

type typeRef struct {
	FQN        string `json:"fqn"`
	Primitive  string `json:"primitive"`
	Collection *struct {
		Kind        string  `json:"kind"`
		ElementType typeRef `json:"elementtype"`
	} `json:"collection"`
	Union *struct {
		Types []typeRef `json:"types"`
	} `json:"union"`
	Intersection *struct {
		Types []typeRef `json:"types"`
	} `json:"intersection"`
}

type docs struct {
	Summary    string `json:"summary"`
	Remarks    string `json:"remarks"`
	Default    string `json:"default"`
	Example    string `json:"example"`
	Stability  string `json:"stability"`
	Returns    string `json:"returns"`
	See        string `json:"see"`
	Deprecated string `json:"deprecated"`
}

// tablet holds the documentation examples and what they are in other languages.
type tablet struct {
	Snippets map[string]struct {
		Translations map[string]struct {
			Source string `json:"source"`
		} `json:"translations"`
	} `json:"snippets"`
}
