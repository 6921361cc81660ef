package bundle
import ("testing";"fmt";"syscall";"time")
func cpu() time.Duration { var r syscall.Rusage; syscall.Getrusage(0,&r); return time.Duration(r.Utime.Nano()+r.Stime.Nano()) }
func BenchmarkTmp(b *testing.B) {
 for _, c := range []struct{n string; m Mode; min bool; kn string}{{"min",Deploy,true,""},{"min-nokeep",Deploy,true,`{"keepNames":false}`},{"ws",Deploy,false,`{"minifyWhitespace":true,"minifySyntax":true}`},{"plain",Deploy,false,""},{"live",Live,false,""}} {
  root, specs := notes(b,100)
  for i := range specs { specs[i].Options.Minify=&c.min; if c.kn!="" {specs[i].Options.Esbuild=[]byte(c.kn)} }
  c0, t0 := cpu(), time.Now()
  bu := Open(Config{Root:root,Mode:c.m,NodeMajor:20}); rs := bu.Build(b.Context(),specs); bu.Close()
  c1, t1 := cpu(), time.Now()
  n,z := 0,0
  for _, r := range rs { for _, f := range r.Files { n+=len(f.Data) } }
  z = len(rs[0].Zip())*100
  fmt.Println(c.n, "cpu", c1-c0, "wall", t1.Sub(t0), "bytes", n, "zip", z)
 }
}
