package format

// TypeSQLite is the type of the source of an SQLite database in a golden's header.
const TypeSQLite = "sqlite"

// Logs are the files beside a database that hold what is not yet in it. They belong to its state of another
// time: a golden never has them, and who puts the database in place removes them, whatever its header excludes.
func (s Source) Logs() []string {
	if s.Type != TypeSQLite {
		return nil
	}
	return []string{s.Path + "-journal", s.Path + "-shm", s.Path + "-wal"}
}
