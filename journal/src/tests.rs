use super::*;
use std::fs;

const SCHEMA: &str = "CREATE TABLE number (value INTEGER PRIMARY KEY, content BLOB)";

fn open(path: &Path) -> Result<Journal, JournalError> {
    Journal::open(path.to_owned(), 1, SCHEMA)
}

fn add(journal: &Journal, value: u32) {
    let insert = "INSERT INTO number VALUES (?, zeroblob(500))";
    journal.write(|transaction| transaction.execute(insert, [value])).unwrap();
}

fn numbers(journal: &Journal) -> Vec<u32> {
    let read = |transaction: &Transaction<'_>| {
        let mut statement = transaction.prepare("SELECT value FROM number ORDER BY value")?;
        statement.query_map([], |row| row.get(0))?.collect()
    };
    journal.write(read).unwrap()
}

/// As if the program had been killed: nothing more is written.
fn killed(from: &Path, to: &Path) {
    for name in ["journal.db", "journal.db-wal"] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

#[test]
fn what_was_written_is_there_after_a_kill() {
    let (running, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let journal = open(&running.path().join("journal.db")).unwrap();
    (0..50).for_each(|value| add(&journal, value));
    killed(running.path(), after.path());
    let found = open(&after.path().join("journal.db")).unwrap();
    assert_eq!(numbers(&found), (0..50).collect::<Vec<_>>());
}

#[test]
fn a_log_torn_anywhere_leaves_whole_transactions_and_the_first_ones() {
    let (running, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let journal = open(&running.path().join("journal.db")).unwrap();
    (0..20).for_each(|value| add(&journal, value));
    killed(running.path(), after.path());
    let log = fs::read(after.path().join("journal.db-wal")).unwrap();
    let base = fs::read(after.path().join("journal.db")).unwrap();
    let mut before = 0;
    for cut in (0..log.len()).step_by(1517).chain([log.len()]) {
        let torn = tempfile::tempdir().unwrap();
        fs::write(torn.path().join("journal.db"), &base).unwrap();
        // What was in the file before may follow.
        fs::write(torn.path().join("journal.db-wal"), [&log[..cut], &[0xA5; 4096]].concat()).unwrap();
        // Torn before the schema, it is made again.
        let found = numbers(&open(&torn.path().join("journal.db")).unwrap());
        assert_eq!(found, (0..found.len() as u32).collect::<Vec<_>>(), "torn after {cut} bytes");
        assert!(found.len() >= before, "torn after {cut} bytes");
        before = found.len();
    }
    assert_eq!(before, 20);
}

#[test]
fn what_fails_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(&directory.path().join("journal.db")).unwrap();
    add(&journal, 1);
    let twice = |transaction: &Transaction<'_>| {
        transaction.execute("INSERT INTO number VALUES (2, NULL)", [])?;
        transaction.execute("INSERT INTO number VALUES (1, NULL)", [])
    };
    assert!(matches!(journal.write(twice), Err(JournalError::Write { .. })));
    assert_eq!(numbers(&journal), [1]);
}

#[test]
fn a_full_disk_is_named_and_survived() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(&directory.path().join("journal.db")).unwrap();
    let limit = |pages: u32| journal.connection().pragma_update(None, "max_page_count", pages).unwrap();
    limit(8);
    let mut written = 0;
    let insert = "INSERT INTO number VALUES (?, zeroblob(500))";
    let full = loop {
        match journal.write(|transaction| transaction.execute(insert, [written])) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(full.to_string().contains("the disk is full"), "{full}");
    limit(1000);
    add(&journal, written);
    assert_eq!(numbers(&journal).len(), written as usize + 1);
}

#[test]
fn what_lasts_is_on_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(&directory.path().join("journal.db")).unwrap();
    journal.lasting(|transaction| transaction.execute("INSERT INTO number VALUES (1, NULL)", [])).unwrap();
    let level: u32 = journal.connection().query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
    assert_eq!(level, 1, "and the next transaction waits for no disk");
    assert_eq!(numbers(&journal), [1]);
}

#[test]
fn other_files_are_told_from_journals() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    fs::write(&path, "this is no database, whatever its name says").unwrap();
    let error = open(&path).unwrap_err().to_string();
    assert!(error.contains("is damaged") && error.contains("restore it from a backup"), "{error}");

    let newer = directory.path().join("newer.db");
    drop(Journal::open(newer.clone(), 2, SCHEMA).unwrap());
    let error = open(&newer).unwrap_err().to_string();
    assert!(error.contains("has version 2") && error.contains("use the newer program"), "{error}");

    let missing = open(&directory.path().join("no/such/directory.db")).unwrap_err().to_string();
    assert!(missing.contains("cannot open the journal"), "{missing}");
}

fn read_numbers(path: &Path) -> Result<Vec<u32>, JournalError> {
    read(path, 1, |transaction| {
        let mut statement = transaction.prepare("SELECT value FROM number ORDER BY value")?;
        statement.query_map([], |row| row.get(0))?.collect()
    })
}

#[test]
fn what_is_on_record_can_be_read_while_it_is_written_and_after() {
    let (running, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = running.path().join("journal.db");
    let journal = open(&path).unwrap();
    (0..5).for_each(|value| add(&journal, value));
    assert_eq!(read_numbers(&path).unwrap(), [0, 1, 2, 3, 4]);
    // A reader in the middle keeps nobody from writing, and sees what was there when it began.
    let seen = read(&path, 1, |transaction| {
        let count = || transaction.query_row("SELECT count(*) FROM number", [], |row| row.get::<_, u32>(0));
        let before = count()?;
        add(&journal, 5);
        Ok((before, count()?))
    });
    assert_eq!(seen.unwrap(), (5, 5));
    killed(running.path(), after.path());
    assert_eq!(read_numbers(&after.path().join("journal.db")).unwrap().len(), 6);
    drop(journal);
    assert_eq!(read_numbers(&path).unwrap().len(), 6);
    // It can still be written.
    add(&open(&path).unwrap(), 6);
}

#[test]
fn what_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    assert!(matches!(read_numbers(&path), Err(JournalError::Missing { .. })));
    assert!(!path.exists(), "reading makes nothing");
    fs::write(&path, [7; 5000]).unwrap();
    assert!(matches!(read_numbers(&path), Err(JournalError::Damaged { .. })));
    fs::write(&path, []).unwrap();
    assert!(matches!(read_numbers(&path), Err(JournalError::Foreign { .. })));
    drop(Journal::open(path.clone(), 1, "CREATE TABLE other (value INTEGER)").unwrap());
    assert!(matches!(read_numbers(&path), Err(JournalError::Foreign { .. })));
    fs::remove_file(&path).unwrap();
    drop(Journal::open(path.clone(), 2, SCHEMA).unwrap());
    assert!(matches!(read_numbers(&path), Err(JournalError::Newer { found: 2, known: 1, .. })));
    fs::remove_file(&path).unwrap();
    drop(Journal::open(path.clone(), 1, "CREATE TABLE number (value); INSERT INTO number VALUES ('text')").unwrap());
    assert!(matches!(read_numbers(&path), Err(JournalError::Damaged { .. })));
}
