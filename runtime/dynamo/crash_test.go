package dynamo

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// TestCrash kills a process that writes: what it acknowledged is there, and no transaction is there by half.
func TestCrash(t *testing.T) {
	if dir := os.Getenv("DYNAMO_TEST_WRITER"); dir != "" {
		writeUntilKilled(dir)
		return
	}
	dir := t.TempDir()
	acknowledged := map[string]int{} // the last of each writer
	for round := range 3 {
		cmd := exec.CommandContext(context.Background(), os.Args[0], "-test.run=^TestCrash$")
		cmd.Env = append(os.Environ(), "DYNAMO_TEST_WRITER="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			writer, number, ok := strings.Cut(lines.Text(), " ")
			if !ok {
				continue
			}
			acknowledged[writer], _ = strconv.Atoi(number)
			if n == 100+round*37 {
				cmd.Process.Kill() // and read on: more may have been told before it died
			}
		}
		cmd.Wait()
	}
	if len(acknowledged) != 8 {
		t.Fatalf("%d writers were heard of", len(acknowledged))
	}
	s, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	table := s.lookup("notes")
	text := func(v string) Value { return Value{Kind: String, Text: v} }
	found := 0
	err = s.db.View(func(tx *bolt.Tx) error {
		for writer, last := range acknowledged {
			for n := 0; ; n++ {
				halves := 0
				for _, half := range []string{"left", "right"} {
					item, err := get(tx, table, table.key(Item{"user": text(writer + half), "n": Value{Kind: Number, Text: strconv.Itoa(n)}}))
					if err != nil {
						return err
					}
					if item != nil {
						halves++
					}
				}
				if halves == 1 {
					t.Errorf("writer %s: half of transaction %d is there", writer, n)
				}
				if halves == 0 && n <= last {
					t.Errorf("writer %s: %d was acknowledged and is lost", writer, n)
				}
				if found += halves; halves == 0 && n > last {
					break
				}
			}
		}
		items, _ := counts(tx, table)
		entries := tx.Bucket(table.indexBucket("byTag")).Stats().KeyN
		records := tx.Bucket(table.streamBucket()).Stats().KeyN
		if int(items) != found || entries != found || records != found {
			t.Errorf("%d items were found, %d are counted, %d are in the index, %d in the stream", found, items, entries, records)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// writeUntilKilled goes on where the process before was killed.
func writeUntilKilled(dir string) {
	s, err := Open(Options{Dir: dir})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	if s.lookup("notes") == nil {
		ensure(&testing.T{}, s, notesTable)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	for writer := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := 0; ; n++ {
				put := func(half string) string {
					return fmt.Sprintf(`{"Put":{"TableName":"notes","Item":{"user":{"S":"%d%s"},"n":{"N":"%d"},"tag":{"S":"t"}},"ConditionExpression":"attribute_not_exists(n)"}}`, writer, half, n)
				}
				_, err := operations["DynamoDB_20120810.TransactWriteItems"](s, []byte(`{"TransactItems":[`+put("left")+`,`+put("right")+`]}`))
				if refused, ok := err.(*apiError); err != nil && (!ok || !strings.HasSuffix(refused.kind, "TransactionCanceledException")) {
					fmt.Println(err)
					os.Exit(1)
				}
				if err == nil {
					mu.Lock()
					fmt.Printf("%d %d\n", writer, n)
					mu.Unlock()
				}
			}
		}()
	}
	wg.Wait()
}
