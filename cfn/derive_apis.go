package cfn

// cors reads the CORS configuration of an HTTP API or a function URL, which have the same form.
func (d *derivation) cors(s *Stack, value any) *Cors {
	cors := object(value)
	if len(cors) == 0 {
		return nil
	}
	return &Cors{
		AllowCredentials: d.truth(s, cors["AllowCredentials"]), AllowHeaders: d.texts(s, cors["AllowHeaders"]),
		AllowMethods: d.texts(s, cors["AllowMethods"]), AllowOrigins: d.texts(s, cors["AllowOrigins"]),
		ExposeHeaders: d.texts(s, cors["ExposeHeaders"]), MaxAge: d.number(s, cors["MaxAge"]),
	}
}

// url reads a function URL: an Api whose only route is its function. It goes by the function's name.
func (d *derivation) url(s *Stack, id string, r *Resource) {
	f := d.function(s, r.Properties["TargetFunctionArn"])
	if f == nil {
		return
	}
	d.m.Apis = append(d.m.Apis, Api{
		ID: f.ID, Stack: s.ID, LogicalID: id, Type: "url",
		Stream: d.text(s, r.Properties["InvokeMode"]) == "RESPONSE_STREAM",
		Cors:   d.cors(s, r.Properties["Cors"]),
		Routes: []Route{{Key: "$default", Function: f.ID, Payload: "2.0"}},
	})
}
