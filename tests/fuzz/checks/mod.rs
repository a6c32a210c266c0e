//! What must be true of every reading of what others wrote, whatever they wrote. Fuzz targets
//! bring what a fuzzer invents; plain unit tests, what fuzzing has saved.

pub mod cgroup;
#[cfg(feature = "dbus-notify")]
pub mod dbus;
pub mod meminfo;
pub mod mountinfo;
pub mod settings;
pub mod stat;

/// As text in which each character stands for a byte.
fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

/// A number in decimal digits alone.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Some ends before that of `text`; of texts of many lengths, all.
fn cuts(text: &[u8]) -> impl Iterator<Item = usize> {
    (0..text.len()).step_by(1 + text.len() / 16)
}

#[cfg(test)]
mod tests {
    /// Runs `check` on each file of a corpus, whole and cut.
    fn check_saved(corpus: &str, check: fn(&[u8])) {
        let path = format!("{}/tests/fuzz/corpus/{corpus}", env!("CARGO_MANIFEST_DIR"));
        let mut files = 0;
        for entry in std::fs::read_dir(&path).unwrap() {
            let input = std::fs::read(entry.unwrap().path()).unwrap();
            check(&input);
            super::cuts(&input).for_each(|end| check(&input[..end]));
            files += 1;
        }
        assert!(files >= 3, "only {files} files in {path}");
    }

    #[test]
    fn saved_stat() {
        check_saved("stat", super::stat::check);
    }

    #[test]
    fn saved_meminfo() {
        check_saved("meminfo", super::meminfo::check);
    }

    #[test]
    fn saved_mountinfo() {
        check_saved("mountinfo", super::mountinfo::check);
    }

    #[test]
    fn saved_files_of_cgroups() {
        check_saved("cgroup", super::cgroup::check);
    }

    #[test]
    fn saved_configuration_files() {
        check_saved("settings", super::settings::check);
    }

    #[cfg(feature = "dbus-notify")]
    #[test]
    fn saved_messages_of_dbus() {
        check_saved("dbus", super::dbus::check);
    }
}
