package dynamo

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestLimits: items end at 400 KB, pages at 1 MB, and segments share a table without losing or repeating an item.
func TestLimits(t *testing.T) {
	s, url := opened(t, Options{})
	ensure(t, s, notesTable)
	put := func(n, size int) (int, string) {
		return call(t, url, "PutItem", fmt.Sprintf(`{"TableName":"notes","Item":{"user":{"S":"u%d"},"n":{"N":"1"},"x":{"S":"%s"}}}`, n, strings.Repeat("x", size)))
	}
	if _, answer := put(0, 400<<10); !strings.Contains(answer, `"message":"Item size has exceeded the maximum allowed size"`) {
		t.Errorf("an item of more than 400 KB: %s", answer)
	}
	for n := range 30 {
		if status, answer := put(n, 100<<10); status != http.StatusOK {
			t.Fatal(answer)
		}
	}
	type page struct {
		Items            []Item
		LastEvaluatedKey Item
	}
	for _, total := range []int{1, 4} {
		seen, pages := map[string]int{}, 0
		for segment := range total {
			for start := Item(nil); ; {
				body := fmt.Sprintf(`{"TableName":"notes","TotalSegments":%d,"Segment":%d`, total, segment)
				if start != nil {
					body += `,"ExclusiveStartKey":` + string(start.appendJSON(nil))
				}
				status, answer := call(t, url, "Scan", body+"}")
				var p page
				if err := json.Unmarshal([]byte(answer), &p); err != nil || status != http.StatusOK {
					t.Fatal(status, err)
				}
				if len(p.Items) > 11 {
					t.Errorf("a page has %d items of 100 KB", len(p.Items))
				}
				for _, item := range p.Items {
					seen[item["user"].Text]++
				}
				pages++
				if start = p.LastEvaluatedKey; start == nil {
					break
				}
			}
		}
		if len(seen) != 30 {
			t.Errorf("%d of 30 items were seen", len(seen))
		}
		for user, times := range seen {
			if times != 1 {
				t.Errorf("%s was seen %d times", user, times)
			}
		}
		if total == 1 && pages != 3 {
			t.Errorf("3 MB came in %d pages, want 3", pages)
		}
	}
}
