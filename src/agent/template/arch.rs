//! `arch` and `os_arch`: what kind of machine this is.

/// System and processor in Go's words: `linux-amd64`, `darwin-arm64`.
pub fn os_arch() -> String {
    let os = match std::env::consts::OS {
        "macos" => "darwin",
        os => os,
    };
    format!("{os}-{}", go_arch(std::env::consts::ARCH))
}

/// CircleCI's `arch` of this host.
pub fn of_this_host() -> String {
    // Not there but on Linux; then the model is left out.
    let cpuinfo = fs_err::read_to_string("/proc/cpuinfo").unwrap_or_default();
    arch(&os_arch(), &cpuinfo)
}

/// CircleCI's rendering, `arch1-linux-amd64-6_85`: the last part is the first processor's family and model, as
/// `/proc/cpuinfo` has them. Arm has neither; there it is implementer and part, which name the core in
/// the same way: `arch1-linux-arm64-0x41_0xd0c`. Where the model cannot be known the part is left out.
pub fn arch(os_arch: &str, cpuinfo: &str) -> String {
    let value = |name: &str| {
        cpuinfo.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            let value = value.trim();
            let harmless =
                !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric());
            (key.trim() == name && harmless).then_some(value)
        })
    };
    let model = value("cpu family").zip(value("model"));
    match model.or_else(|| value("CPU implementer").zip(value("CPU part"))) {
        Some((family, model)) => format!("arch1-{os_arch}-{family}_{model}"),
        None => format!("arch1-{os_arch}"),
    }
}

fn go_arch(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "powerpc64" => "ppc64",
        "loongarch64" => "loong64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x86_is_told_by_family_and_model() {
        let cpuinfo = "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 85\n\
                       model name\t: Intel(R) Xeon(R) Platinum 8124M CPU @ 3.00GHz\n\
                       processor\t: 1\ncpu family\t: 6\nmodel\t\t: 62\n";
        assert_eq!(arch("linux-amd64", cpuinfo), "arch1-linux-amd64-6_85");
    }

    #[test]
    fn arm_is_told_by_implementer_and_part() {
        let cpuinfo = "processor\t: 0\nBogoMIPS\t: 243.75\nCPU implementer\t: 0x41\n\
                       CPU architecture: 8\nCPU variant\t: 0x3\nCPU part\t: 0xd0c\n";
        assert_eq!(arch("linux-arm64", cpuinfo), "arch1-linux-arm64-0x41_0xd0c");
    }

    #[test]
    fn an_unknown_processor_is_left_out() {
        assert_eq!(arch("darwin-arm64", ""), "arch1-darwin-arm64");
        assert_eq!(arch("linux-amd64", "cpu family: 6 / 7\nmodel: 1"), "arch1-linux-amd64");
    }

    #[test]
    fn systems_have_gos_names() {
        assert_eq!(go_arch("x86_64"), "amd64");
        assert_eq!(go_arch("aarch64"), "arm64");
        assert!(of_this_host().starts_with(&format!("arch1-{}", os_arch())));
    }
}
