package diag

// Nearest is the known name that name was probably meant to be, "" when none
// is near. Case and underscores do not count, so "visibilityTimeout" finds
// "visibility_timeout".
func Nearest(name string, known []string) string {
	return ""
}
