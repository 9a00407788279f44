use std::io;
use std::path::Path;

use super::*;
use crate::{Fs, FsFile};

fn contents(fs: &MemFs) -> Vec<u8> {
    fs.contents(Path::new("file"))
}

#[test]
fn a_chosen_operation_fails_once_or_from_there_on() {
    for lasts in [false, true] {
        let fs = MemFs::new(1);
        let file = fs.create(Path::new("file")).unwrap();
        if lasts {
            fs.fail_from(2, io::ErrorKind::StorageFull);
        } else {
            fs.fail_at(2, io::ErrorKind::StorageFull);
        }
        file.write_at(0, b"0123").unwrap();
        let error = file.write_at(4, b"4567").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(contents(&fs), b"012345", "half of it was written");
        assert_eq!(file.write_at(4, b"4567").is_err(), lasts);
        fs.stop_failing();
        file.sync_data().unwrap();
    }
}

#[test]
fn a_failed_sync_loses_what_it_should_have_kept() {
    let fs = MemFs::new(1);
    let file = fs.create(Path::new("file")).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    file.write_at(0, b"0123").unwrap();
    fs.fail_at(fs.operations(), io::ErrorKind::Other);
    file.sync_data().unwrap_err();
    file.sync_data().unwrap();
    assert_eq!(contents(&fs), b"0123");
    fs.crash_losing_all();
    assert_eq!(contents(&fs), [0; 4]);
}

#[test]
fn a_full_disk_takes_what_fits_the_files_that_it_has() {
    let fs = MemFs::new(1);
    let file = fs.create(Path::new("file")).unwrap();
    let other = fs.create(Path::new("other")).unwrap();
    fs.set_capacity(Some(10));
    file.allocate(6).unwrap();
    assert_eq!(
        other.allocate(5).unwrap_err().kind(),
        io::ErrorKind::StorageFull
    );
    assert_eq!(
        other.write_at(4, b"x").unwrap_err().kind(),
        io::ErrorKind::StorageFull
    );
    other.write_at(3, b"x").unwrap();
    file.write_at(0, b"012345").unwrap();
    assert_eq!(fs.used(), 10);
    fs.remove_file(Path::new("other")).unwrap();
    file.allocate(10).unwrap();
}

#[test]
fn a_directory_with_names_is_not_replaced() {
    let fs = MemFs::new(1);
    for dir in ["a", "b"] {
        fs.create_dir_all(Path::new(dir)).unwrap();
    }
    fs.rename(Path::new("a"), Path::new("b")).unwrap();
    fs.create(Path::new("b/file")).unwrap();
    fs.create_dir_all(Path::new("a")).unwrap();
    let error = fs.rename(Path::new("a"), Path::new("b")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::DirectoryNotEmpty);
}
