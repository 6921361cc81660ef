package runtime

import (
	"net/http"
	"strings"
	"testing"

	"sst/cfn"
)

// A page that reaches a front through a DNS name of its own is refused by each of them.
func TestForeignHostOfFronts(t *testing.T) {
	route := cfn.Route{Key: "$default", Function: "web/Echo", Payload: "2.0"}
	p := serveApis(t, map[string]string{"src/echo.js": echo}, []cfn.Function{nodeFunction("web/Echo", "src/echo.handler")},
		cfn.Api{ID: "web/Http", LogicalID: "Http1", Type: "http", Routes: []cfn.Route{route}},
		cfn.Api{ID: "web/Rest", LogicalID: "Rest1", Type: "rest", StageName: "dev", Routes: []cfn.Route{{Key: "ANY /", Function: "web/Echo", Payload: "1.0"}}},
		cfn.Api{ID: "web/Url", LogicalID: "Url1", Type: "url", Routes: []cfn.Route{route}},
		cfn.Api{ID: "web/Chat", LogicalID: "Chat1", Type: "websocket", StageName: "dev", Routes: []cfn.Route{{Key: "$default", Function: "web/Echo", Payload: "1.0"}}})
	urls := map[string]string{"lambda": p.server.Lambda() + "/2015-03-31/functions/web-Echo/invocations"}
	for _, address := range p.server.Apis() {
		urls[address.ID] = strings.Replace(address.URL, "ws://", "http://", 1)
	}
	if len(urls) != 5 {
		t.Fatalf("fronts: %v", urls)
	}
	for name, url := range urls {
		for host, refused := range map[string]bool{"rebound.example": true, "127.0.0.1.rebound.example": true, "localhost": false} {
			req, _ := http.NewRequest("POST", url, strings.NewReader("{}"))
			req.Host = host
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if got := res.StatusCode == http.StatusForbidden; got != refused {
				t.Errorf("%s for host %s = %s, want it refused: %t", name, host, res.Status, refused)
			}
		}
	}
}
