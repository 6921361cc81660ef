package runtime

// The models of REST APIs: JSON schemas that the body of a request must be of.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// bodyModel gives the schema for a content type, nil when there is none: then any body will do.
func bodyModel(models map[string]json.RawMessage, contentType string) json.RawMessage {
	if contentType == "" {
		contentType = "application/json"
	}
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		kind = contentType
	}
	for name, schema := range models {
		if strings.EqualFold(name, kind) {
			return schema
		}
	}
	return nil
}

// checkBody says what is wrong with a body.
func checkBody(schema json.RawMessage, body []byte) error {
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return fmt.Errorf("the model is not JSON: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft4)
	c.UseLoader(jsonschema.SchemeURLLoader{}) // nothing is fetched
	if err := c.AddResource("model.json", parsed); err != nil {
		return fmt.Errorf("the model is no JSON schema: %w", err)
	}
	compiled, err := c.Compile("model.json")
	if err != nil {
		return fmt.Errorf("the model is no JSON schema: %w", err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("the body is not JSON: %w", err)
	}
	return compiled.Validate(value)
}
