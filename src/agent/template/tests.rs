//! Keys as CircleCI's users write them.

use std::io;

use proptest::prelude::*;

use super::*;

struct Job;

impl Values for Job {
    fn field(&self, name: &str) -> Option<String> {
        match name {
            "Branch" => Some("main".to_owned()),
            "Revision" => Some("abc123".to_owned()),
            "BuildNum" => Some("846".to_owned()),
            "CheckoutKey" => Some("key".to_owned()),
            _ => None,
        }
    }

    fn environment(&self, name: &str) -> Option<String> {
        (name == "CACHE_VERSION").then(|| "v7".to_owned())
    }

    fn read(&self, path: &str, take: &mut dyn FnMut(&[u8])) -> (String, io::Result<()>) {
        let opened = format!("/home/circleci/project/{path}");
        match path {
            "hello" => {
                take(b"hel");
                take(b"lo\n");
                (opened, Ok(()))
            }
            _ => (opened, Err(io::ErrorKind::NotFound.into())),
        }
    }

    fn epoch(&self) -> i64 {
        1_700_000_000
    }

    fn cpu_info(&self) -> String {
        "processor\t: 0\ncpu family\t: 6\nmodel\t\t: 85\nmodel name\t: X\n".to_owned()
    }
}

/// What `printf 'hello\n' | sha256sum | xxd -r -p | base64` prints, with `_` for `/`.
const HELLO: &str = "WJG1tSLV3whtD_CxEPvZ0hu0_HFjrzTQgoai6Eb2vgM=";

#[test]
fn every_value_renders_as_circleci_has_it() {
    let os_arch = os_arch();
    let cases = [
        ("plain-v1", "plain-v1".to_owned()),
        ("v1-{{ .Branch }}-{{ .Revision }}-{{.BuildNum}}", "v1-main-abc123-846".to_owned()),
        ("{{ .CheckoutKey }}", "key".to_owned()),
        ("{{ .Environment.CACHE_VERSION }}-x", "v7-x".to_owned()),
        ("{{ .Environment.NOT_SET }}", "<no value>".to_owned()),
        ("{{ checksum \"hello\" }}", HELLO.to_owned()),
        ("{{ checksum `hello` }}", HELLO.to_owned()),
        ("{{checksum (\"hello\")}}", HELLO.to_owned()),
        ("{{ \"hello\" | checksum }}", HELLO.to_owned()),
        ("{{ epoch }}", "1700000000".to_owned()),
        ("{{ arch }}", format!("arch1-{os_arch}-6_85")),
        ("{{ os_arch }}", os_arch.clone()),
        ("a  {{- \"b\" -}}  c", "abc".to_owned()),
        ("a{{/* a comment */}}b", "ab".to_owned()),
        ("a }} b", "a }} b".to_owned()),
        ("{{ \"q\\\"\\\\\" }}", "q\"\\".to_owned()),
    ];
    for (template, key) in cases {
        assert_eq!(render(template, &Job), Ok(key), "{template}");
    }
}

#[test]
fn fact_5_errors_read_as_gos_do() {
    let cases = [
        (
            "v1-dependencies-{{ checksum \"x\" }}",
            "1:19: executing \"cacheKey\" at <checksum \"x\">: error calling checksum: open /home/circleci/project/x: no such file or directory",
        ),
        ("a\n{{ nonsense }}", "2: function \"nonsense\" not defined"),
        (
            "{{ checksum }}",
            "1:3: executing \"cacheKey\" at <checksum>: wrong number of args for checksum: want 1 got 0",
        ),
        ("{{ .Branch", "1: unclosed action"),
        ("{{ }}", "1: missing value for command"),
        ("{{ checksum \"x }}", "1: unterminated quoted string"),
        ("{{/* x }}", "1: unclosed comment"),
    ];
    for (template, message) in cases {
        let error = render(template, &Job).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("error computing cache key: template: cacheKey:{message}")
        );
    }
    for template in [
        "{{ .Nope }}",
        "{{ if .Branch }}x{{ end }}",
        "{{ .Environment.A.B }}",
        "{{ .Branch \"x\" }}",
    ] {
        assert!(render(template, &Job).is_err(), "{template}");
    }
}

#[test]
fn processors_without_family_and_model_are_told_apart_too() {
    let arm = "processor : 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n";
    assert_eq!(arch(arm), format!("arch1-{}-0x41_0xd0c", os_arch()));
    assert_eq!(arch(""), format!("arch1-{}", os_arch()));
}

proptest! {
    #[test]
    fn no_template_panics(template in "(\\{\\{|\\}\\}|[-|()\"`. a-c/*\n\\\\é]|checksum|epoch|\\.Branch){0,20}") {
        let _ = render(&template, &Job);
    }

    #[test]
    fn text_without_actions_is_itself(text in "[^{]{0,60}") {
        prop_assert_eq!(render(&text, &Job), Ok(text));
    }
}
