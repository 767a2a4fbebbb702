//! Tests of the whole language; what Go itself makes of each sample is in `samples.jsonl`.

use std::io::Cursor;

use proptest::prelude::*;

use super::*;

type Open<'a> = &'a dyn Fn(&Path) -> io::Result<Box<dyn Read>>;

/// Renders in a world where every file but `missing` is there.
fn rendered(template: &str) -> Result<String, Error> {
    let open = |path: &Path| -> io::Result<Box<dyn Read>> {
        if path.to_string_lossy().contains("missing") {
            return Err(io::Error::from_raw_os_error(2));
        }
        Ok(Box::new(Cursor::new(format!("content of {}", path.display()))))
    };
    in_world(&open, |context| render(template, context))
}

fn in_world<T>(open: Open<'_>, look: impl FnOnce(&Context<'_>) -> T) -> T {
    let environment = |name: &str| match name {
        "A" => Some("va".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    let context = Context {
        branch: "main",
        revision: "abc",
        build_num: "846",
        checkout_key: "key",
        environment: &environment,
        open,
        working_dir: Path::new("/w"),
        home: Some(Path::new("/home/circleci")),
        epoch_secs: 1_700_000_000,
        arch: "arch1-linux-amd64-6_85",
        os_arch: "linux-amd64",
    };
    look(&context)
}

fn error(template: &str) -> String {
    rendered(template).map_or_else(|error| error.to_string(), |text| panic!("gave {text:?}"))
}

#[test]
fn samples_come_out_as_gos_own_do() {
    #[derive(serde::Deserialize)]
    struct Sample {
        template: String,
        ok: Option<String>,
        err: Option<String>,
    }
    for line in include_str!("samples.jsonl").lines() {
        let sample: Sample = serde_json::from_str(line).unwrap();
        match rendered(&sample.template) {
            Ok(text) => assert_eq!(Some(text), sample.ok, "{line}"),
            Err(error) => assert_eq!(Some(error.to_string()), sample.err, "{line}"),
        }
    }
}

#[test]
fn errors_seen_in_public_logs_are_met_word_for_word() {
    let path = |file: &str| format!("/w/{file}");
    for (template, line, column, at, file) in [
        ("go-mod-v4-{{ checksum \"missing.sum\" }}", 1, 13, "missing.sum", path("missing.sum")),
        ("v1-pip-{{ .Branch }}-{{ checksum \"./missing\" }}", 1, 24, "./missing", path("missing")),
        (
            "yarn-{{ checksum \"~/project/missing\" }}",
            1,
            8,
            "~/project/missing",
            "/home/circleci/project/missing".to_owned(),
        ),
    ] {
        let expected = format!(
            "template: cacheKey:{line}:{column}: executing \"cacheKey\" at <checksum \"{at}\">: \
             error calling checksum: open {file}: no such file or directory"
        );
        assert_eq!(error(template), expected);
    }
    assert_eq!(
        error("v{{ .CACHE_VERSION }}-dependencies"),
        "template: cacheKey:1:4: executing \"cacheKey\" at <.CACHE_VERSION>: \
         can't evaluate field CACHE_VERSION in type cache.TemplateValues"
    );
    assert_eq!(
        error("yarn-{{ parameters.e }}"),
        "template: cacheKey:1: function \"parameters\" not defined"
    );
}

#[test]
fn checksums_are_padded_base64_without_slashes() {
    let digest =
        |text: &[u8]| base64_of_digest(&<sha2::Sha256 as sha2::Digest>::digest(text).into());
    assert_eq!(digest(b""), "47DEQpj8HBSa+_TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    let all: String = (0_u16..500).map(|number| digest(&number.to_be_bytes())).collect();
    assert!(all.contains('+') && all.contains('_') && all.contains('='));
    assert!(!all.contains('/') && !all.contains('-'));
}

#[test]
fn an_unreadable_file_is_told_as_go_tells_it() {
    for (errno, reason) in [(13, "permission denied"), (20, "not a directory"), (40, "too many")] {
        let text = super::eval::system_reason(&io::Error::from_raw_os_error(errno));
        assert!(text.starts_with(reason) && !text.contains("os error"), "{text}");
    }
}

#[test]
fn a_file_that_breaks_off_is_no_checksum() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(21))
        }
    }
    let open = |_: &Path| -> io::Result<Box<dyn Read>> { Ok(Box::new(Broken)) };
    let error = in_world(&open, |context| render("{{ checksum \"dir\" }}", context)).unwrap_err();
    assert!(error.to_string().ends_with("error calling checksum: read /w/dir: is a directory"));
}

#[test]
fn the_rest_of_gos_language_is_refused_by_name() {
    for (template, named) in [
        ("{{ if .Branch }}x{{ end }}", "{{if}}"),
        ("{{ range . }}{{ end }}", "{{range}}"),
        ("{{ printf \"%s\" .Branch }}", "\"printf\""),
        ("{{ index .Environment \"A\" }}", "\"index\""),
        ("{{ 12 }}", "`12`"),
        ("{{ -1.5e3 }}", "`-1.5e3`"),
        ("{{ true }}", "`true`"),
        ("{{ 'c' }}", "`'c'`"),
        ("{{ $ }}", "`$`"),
        ("{{ $x := .Branch }}", "`$x`"),
        ("{{ .Environment }}", "a whole environment"),
        ("{{ . }}", "a whole environment"),
    ] {
        let text = error(template);
        assert!(text.contains("Larder does not") && text.contains(named), "{template}: {text}");
    }
}

#[test]
fn nesting_is_bounded() {
    let nested =
        |depth: usize| format!("{{{{ {}epoch{} }}}}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(rendered(&nested(64)).as_deref(), Ok("1700000000"));
    assert!(error(&nested(65)).contains("at most 64 parentheses"));
    assert!(error(&"{{(".repeat(100_000)).contains("cacheKey:1: "));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(template in "\\PC{0,60}") {
        let _ = rendered(&template);
    }

    #[test]
    fn no_template_makes_it_panic(
        parts in proptest::collection::vec(prop_oneof![
            Just("{{"), Just("}}"), Just("{{- "), Just(" -}}"), Just("/*"), Just("*/"), Just("checksum"),
            Just(" "), Just("\n"), Just("\""), Just("`"), Just("'"), Just("\\"), Just("("), Just(")"),
            Just("|"), Just("."), Just(".Environment"), Just(".A"), Just("$"), Just("x"), Just("9"),
            Just("ä"), Just("\u{0}"), Just("end"), Just(":="), Just("-"),
        ], 0..24),
    ) {
        let _ = rendered(&parts.concat());
    }

    #[test]
    fn text_without_actions_is_itself(text in "[^{]{0,40}") {
        prop_assert_eq!(rendered(&text), Ok(text));
    }
}
