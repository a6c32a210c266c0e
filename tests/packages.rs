//! The recipes of `scripts/package`: each is for another tool that is seldom here, so what they
//! say of the program is held against the checkout.
//!
//! Files are read, and nothing is built or run.

use std::path::Path;

const MANIFEST: &str = include_str!("../Cargo.toml");
const CHANGELOG: &str = include_str!("../scripts/package/debian/changelog");
const RULES: &str = include_str!("../scripts/package/debian/rules");
const APKBUILD: &str = include_str!("../scripts/package/alpine/APKBUILD");
const BUILDROOT: &str = include_str!("../scripts/package/buildroot/package/oom-guard/oom-guard.mk");
const OPENWRT: &str = include_str!("../scripts/package/openwrt/Makefile");
const STATIC: &str = include_str!("../scripts/build-static.sh");

/// What stands behind `prefix` in the first line that begins with it.
fn after<'a>(text: &'a str, prefix: &str) -> &'a str {
    let found = text.lines().find_map(|line| line.strip_prefix(prefix));
    found.unwrap_or_else(|| panic!("no line begins with {prefix:?}"))
}

fn in_checkout(path: &str) -> bool {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists()
}

/// The words of `text` that begin with `prefix`, without it, up to the first character that
/// belongs to no path.
fn paths<'a>(text: &'a str, prefix: &'a str) -> Vec<&'a str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "/_.-".contains(c);
    let rests = text.split(prefix).skip(1);
    rests.map(|rest| rest.split(|c| !is_part(c)).next().expect("one part at least")).collect()
}

#[test]
fn recipes_have_the_version_of_the_program() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(after(APKBUILD, "pkgver="), version);
    assert_eq!(after(BUILDROOT, "OOM_GUARD_VERSION = "), version);
    assert_eq!(after(OPENWRT, "PKG_VERSION:="), version);
    let entry = after(CHANGELOG, "oom-guard (");
    assert!(entry.starts_with(&format!("{version})")), "debian/changelog begins with {entry}");
}

#[test]
fn completions_are_taken_from_where_they_are_put() {
    let install = include_str!("../scripts/install.sh");
    for (shell, place) in [
        ("bash", "share/bash-completion/completions"),
        ("zsh", "share/zsh/site-functions"),
        ("fish", "share/fish/vendor_completions.d"),
    ] {
        assert!(install.contains(place), "install.sh: no {place}");
        let package = format!("$pkgname-{shell}-completion\n");
        assert!(APKBUILD.contains(&package), "APKBUILD: no {package}");
    }
    // Debian's zsh looks elsewhere.
    assert!(RULES.contains("$(package)/usr/share/zsh/site-functions "), "debian/rules");
}

#[test]
fn all_ask_for_the_same_rust() {
    // scripts/oldest.sh builds with it.
    let oldest = after(MANIFEST, "rust-version = ").trim_matches('"');
    let control = include_str!("../scripts/package/debian/control");
    for package in ["cargo", "cargo-web", "rustc", "rustc-web"] {
        let line = format!(" {package}:native (>= {oldest}~)");
        assert!(control.contains(&line), "debian/control does not ask for{line}");
    }
    let oldest = format!("Rust {oldest}");
    for text in [
        include_str!("../README.md"),
        include_str!("../scripts/install.sh"),
        include_str!("../scripts/package/debian.sh"),
    ] {
        assert!(text.contains(&oldest), "no {oldest:?} in {text}");
        for asked in paths(text, "Rust 1.").iter().map(|minor| minor.trim_end_matches('.')) {
            let asked = format!("Rust 1.{asked}");
            // Tests and releases need a newer one.
            assert!(asked == oldest || asked == "Rust 1.85", "{asked}");
        }
    }
}

#[test]
fn what_recipes_install_is_there() {
    let fitted = |mode| paths(BUILDROOT, mode);
    let services = [fitted("FITTED,0644,"), fitted("FITTED,0755,"), paths(OPENWRT, ")/init/")];
    assert!(services[0].contains(&"dbus/oom_guard.conf"), "{services:?}");
    for file in services.concat() {
        assert!(in_checkout(&format!("init/{file}")), "no init/{file}");
    }
    assert!(services.iter().all(|files| !files.is_empty()), "blind: {services:?}");
    let documents = include_str!("../scripts/package/debian/oom-guard.docs").lines();
    let examples = include_str!("../scripts/package/debian/oom-guard.examples").lines();
    for file in documents.chain(examples) {
        assert!(in_checkout(file), "no {file}");
    }
}

#[test]
fn features_that_recipes_choose_exist() {
    let (_, features) = MANIFEST.split_once("\n[features]\n").expect("features");
    let (features, _) = features.split_once("\n[").expect("something behind them");
    let chosen = paths(BUILDROOT, "BR2_PACKAGE_OOM_GUARD_PATTERNS),").into_iter();
    let chosen = chosen.chain(paths(BUILDROOT, "BR2_PACKAGE_OOM_GUARD_NOTIFY),"));
    let chosen: Vec<_> = chosen.chain([after(OPENWRT, "RUST_PKG_FEATURES:=")]).collect();
    assert_eq!(chosen.len(), 3, "{chosen:?}");
    for feature in chosen {
        assert!(features.contains(&format!("\n{feature} = ")), "no feature {feature:?}");
    }
}

#[test]
fn the_debian_package_knows_the_names_of_static_targets() {
    let known: Vec<_> = RULES.lines().filter(|line| line.starts_with("static_")).collect();
    assert!(known.len() >= 4, "{known:?}");
    for line in known {
        let (_, target) = line.split_once(" = ").expect("NAME = TARGET");
        assert!(STATIC.contains(&format!("\n    {target}) triple=")), "{line}");
    }
}
