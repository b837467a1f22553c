//! What bash prints is read; what the files say is written.

use std::collections::BTreeMap;

use super::bash::{Value, parse};
use super::{comment, excludes, placeholder};

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn list(items: &[&str]) -> Value {
    Value::List(items.iter().map(|item| (*item).to_owned()).collect())
}

#[test]
fn declarations_are_read_as_bash_prints_them() {
    let map: BTreeMap<String, String> =
        [("NFV", "nfv"), ("a b", "c]d"), ("e", "")].map(|(k, v)| (k.into(), v.into())).into();
    let cases = [
        ("declare -- A=\"9.7\"\n", text("9.7")),
        ("declare -x A=\"\"\n", text("")),
        ("declare -r A=\"a \\\"b\\\" \\$c \\`d\\` \\\\ \\e\"\n", text("a \"b\" $c `d` \\ \\e")),
        ("declare -- A=$'a\\nb\\t\\'\\303\\251\\x41'\n", text("a\nb\t'éA")),
        ("declare -- A=\"two\nlines\"\n", text("two\nlines")),
        ("declare -a A=([0]=\"x86_64\" [1]=\"aarch64\")\n", list(&["x86_64", "aarch64"])),
        ("declare -ax A=([0]=$'a b' [3]=\"c)\")\n", list(&["a b", "c)"])),
        ("declare -a A=()\n", list(&[])),
        ("declare -a A\n", list(&[])),
        ("declare -A A=([NFV]=\"nfv\" [\"a b\"]=\"c]d\" [e]=\"\" )\n", Value::Map(map)),
    ];
    for (printed, value) in cases {
        assert_eq!(parse(printed).unwrap()["A"], value, "{printed}");
    }
    let both = parse("declare -- A=\"1\"\ndeclare -- B\ndeclare -- C=\"2\"\n").unwrap();
    assert_eq!(both.keys().collect::<Vec<_>>(), ["A", "C"]);
}

#[test]
fn what_bash_would_not_print_is_refused_and_never_a_panic() {
    for printed in [
        "A=1",
        "declare -- ",
        "declare -- A=\"x",
        "declare -- A=$'x",
        "declare -- A=$'\\",
        "declare -- A=$'\\777'\n",
        "declare -- A=$'\\q'\n",
        "declare -- A=$'\\377'\n",
        "declare -a A=x\n",
        "declare -a A=(x)\n",
        "declare -a A=([0]",
        "declare -a A=([0]=\"x\"",
    ] {
        assert!(parse(printed).is_err(), "{printed}");
    }
}

#[test]
fn functions_say_what_is_left_out_and_who_signs() {
    let function = "f () \n{ \n    sudo -l && rsync -v --exclude ppc --exclude \"images\" \
                    --exclude=.treeinfo --exclude \"${EXCLUDE}\" --exclude ppc;\n}\n";
    assert_eq!(excludes(function), ["ppc", "images", ".treeinfo"]);
    assert_eq!(placeholder("/root/bin/sign-repo-${VER}.sh"), "/root/bin/sign-repo-{major}.sh");
    assert_eq!(placeholder("/root/bin/sign-repo.sh"), "/root/bin/sign-repo.sh");
    assert_eq!(comment("a\nb\u{1b}[1m"), "a\u{fffd}b\u{fffd}[1m");
}

proptest::proptest! {
    #[test]
    fn damaged_answers_never_panic(text in "(declare -[aAx-] [A-C]=?[\\[\\]()$'\"\\\\a0 é\n]{0,12}){0,3}") {
        let _ = parse(&text);
    }
}
