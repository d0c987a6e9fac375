package git

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// remote starts a server with one empty repository shop.git.
func remote(t *testing.T) (url string) {
	t.Helper()
	root := t.TempDir()
	git(t, root, "init", "--quiet", "--bare", "--initial-branch=main", "shop.git")
	server, err := NewServer(root, Settings{})
	if err != nil {
		t.Fatal(err)
	}
	listening := httptest.NewServer(server)
	t.Cleanup(listening.Close)
	return listening.URL
}

func gitTry(dir string, args ...string) (string, error) {
	command := exec.Command("git", args...)
	command.Dir = dir
	command.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@t", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@t")
	out, err := command.CombinedOutput()
	return string(out), err
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := gitTry(dir, args...)
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return out
}

// commit makes a work tree whose one commit holds content.
func commit(t *testing.T, content []byte) (dir string) {
	t.Helper()
	dir = t.TempDir()
	git(t, dir, "init", "--quiet", "--initial-branch=main")
	if err := os.WriteFile(filepath.Join(dir, "file"), content, 0o644); err != nil {
		t.Fatal(err)
	}
	git(t, dir, "add", "file")
	git(t, dir, "commit", "--quiet", "-m", "one")
	return dir
}

func counts(t *testing.T, url string) (counts Counts) {
	t.Helper()
	answer, err := http.Get(url + "/_control/counts")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&counts); err != nil {
		t.Fatal(err)
	}
	return counts
}

func set(t *testing.T, url, settings string) (status int) {
	t.Helper()
	answer, err := http.Post(url+"/_control/settings", "application/json", strings.NewReader(settings))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

func TestWhatWasPushedCanBeClonedAndEachRequestIsCounted(t *testing.T) {
	url := remote(t)
	work := commit(t, []byte("hello"))
	git(t, work, "push", "--quiet", url+"/shop.git", "main")
	git(t, work, "clone", "--quiet", url+"/shop.git", "clone")
	if content, _ := os.ReadFile(filepath.Join(work, "clone/file")); string(content) != "hello" {
		t.Errorf("cloned %q", content)
	}
	// A push is info/refs and receive-pack; a clone in protocol v2 is info/refs,
	// then upload-pack for ls-refs and again for fetch.
	want := RepositoryCounts{InfoRefs: 2, UploadPack: 2, ReceivePack: 1}
	if got := counts(t, url); got.Total != 5 || got.PerRepository["shop.git"] != want {
		t.Errorf("counted %+v, want 5 and %+v", got, want)
	}
	git(t, work, "ls-remote", url+"/shop")
	if got := counts(t, url); len(got.PerRepository) != 1 || got.PerRepository["shop.git"].InfoRefs != 3 {
		t.Errorf("the name without .git counted elsewhere: %+v", got)
	}
}

func TestAPushAboveThePostBufferIsChunkedAndArrives(t *testing.T) {
	url := remote(t)
	content := make([]byte, 3<<20)
	rand.Read(content)
	work := commit(t, content)
	git(t, work, "push", "--quiet", url+"/shop.git", "main")
	if refs := git(t, work, "ls-remote", url+"/shop.git", "refs/heads/main"); refs == "" {
		t.Error("the branch did not arrive")
	}
}

func TestAGzippedRequestBodyIsUnderstood(t *testing.T) {
	url := remote(t)
	work := commit(t, []byte("hello"))
	// git gzips what it posts to upload-pack above 1024 bytes, which the haves
	// and wants of some forty refs are.
	for range 40 {
		git(t, work, "commit", "--quiet", "--allow-empty", "-m", "more")
	}
	git(t, work, "push", "--quiet", url+"/shop.git", "main")
	git(t, work, "clone", "--quiet", url+"/shop.git", "clone")
	for range 40 {
		git(t, work, "commit", "--quiet", "--allow-empty", "-m", "more")
		git(t, work, "push", "--quiet", url+"/shop.git", "HEAD:refs/heads/b"+rand.Text())
	}
	command := exec.Command("git", "fetch", "--quiet", "origin")
	command.Dir = filepath.Join(work, "clone")
	command.Env = append(os.Environ(), "GIT_TRACE_CURL=1")
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("fetch: %v\n%s", err, out)
	}
	if !strings.Contains(strings.ToLower(string(out)), "content-encoding: gzip") {
		t.Error("git sent no gzipped body, so this proved nothing")
	}
}

func TestProtocolV2IsSpokenWhenAskedFor(t *testing.T) {
	url := remote(t)
	request, _ := http.NewRequest("GET", url+"/shop.git/info/refs?service=git-upload-pack", nil)
	request.Header.Set("Git-Protocol", "version=2")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, _ := io.ReadAll(answer.Body); !strings.Contains(string(body), "version 2\n") {
		t.Errorf("answered %q", body)
	}
}

func TestAPrivateRemoteRefusesAllButTheRightPassword(t *testing.T) {
	url := remote(t)
	if status := set(t, url, `{"user":"bot","password":"secret"}`); status != http.StatusNoContent {
		t.Fatalf("settings answered %d", status)
	}
	// A key that is left out keeps its value: still private.
	set(t, url, `{"latencyMillis":1}`)
	for credentials, allowed := range map[string]bool{"": false, "bot:wrong@": false, "other:secret@": false, "bot:secret@": true} {
		at := strings.Replace(url, "http://", "http://"+credentials, 1)
		if out, err := gitTry(t.TempDir(), "ls-remote", at+"/shop.git"); (err == nil) != allowed {
			t.Errorf("with %q: %v\n%s", credentials, err, out)
		}
	}
}

func TestLatencyIsWaitedBeforeTheAnswer(t *testing.T) {
	url := remote(t)
	set(t, url, `{"latencyMillis":150}`)
	start := time.Now()
	git(t, t.TempDir(), "ls-remote", url+"/shop.git")
	if took := time.Since(start); took < 150*time.Millisecond {
		t.Errorf("answered after %v", took)
	}
}

func TestARemoteThatIsDownAnswers503AndComesBack(t *testing.T) {
	url := remote(t)
	set(t, url, `{"down":true}`)
	if out, err := gitTry(t.TempDir(), "ls-remote", url+"/shop.git"); err == nil || !strings.Contains(out, "503") {
		t.Errorf("%v\n%s", err, out)
	}
	set(t, url, `{"down":false}`)
	git(t, t.TempDir(), "ls-remote", url+"/shop.git")
}

func TestAHangingRemoteCountsTheRequestAndNeverAnswers(t *testing.T) {
	url := remote(t)
	set(t, url, `{"hang":true}`)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	request, _ := http.NewRequestWithContext(ctx, "POST", url+"/shop.git/git-upload-pack", strings.NewReader("0000"))
	if answer, err := http.DefaultClient.Do(request); err == nil {
		t.Errorf("answered %s", answer.Status)
	}
	if got := counts(t, url).PerRepository["shop.git"].UploadPack; got != 1 {
		t.Errorf("counted %d", got)
	}
	// remote's Close waits for open requests, so a handler that did not notice
	// its client leaving would hang this test.
}

func TestASettingThatIsMisspeltIsRefused(t *testing.T) {
	if status := set(t, remote(t), `{"latency":5}`); status != http.StatusBadRequest {
		t.Errorf("answered %d", status)
	}
}
