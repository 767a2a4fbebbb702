//! Who runs: project, branch, revision, build and job, as the CI's environment tells.

use crate::model::{Digest, Project, Provenance};

/// A look-up of a variable of the environment; an empty one counts as not set.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A job, as its CI describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The tenant.
    pub project: Project,
    /// CI, build, job, branch, revision.
    pub provenance: Provenance,
    /// The key that the source was checked out with, where the CI tells.
    pub checkout_key: String,
}

/// Where a CI puts what.
struct Ci {
    name: &'static str,
    /// Set in each of its jobs, and in no other's.
    mark: &'static str,
    /// The first that is set names the project.
    project: &'static [&'static str],
    build: &'static str,
    job: &'static str,
    branch: &'static [&'static str],
    revision: &'static str,
}

const CIS: [Ci; 7] = [
    Ci {
        name: "circleci",
        mark: "CIRCLECI",
        project: &["CIRCLE_PROJECT_ID", "CIRCLE_REPOSITORY_URL"],
        build: "CIRCLE_BUILD_NUM",
        job: "CIRCLE_JOB",
        branch: &["CIRCLE_BRANCH", "CIRCLE_TAG"],
        revision: "CIRCLE_SHA1",
    },
    Ci {
        name: "github",
        mark: "GITHUB_ACTIONS",
        project: &["GITHUB_REPOSITORY"],
        build: "GITHUB_RUN_ID",
        job: "GITHUB_JOB",
        branch: &["GITHUB_HEAD_REF", "GITHUB_REF_NAME"],
        revision: "GITHUB_SHA",
    },
    Ci {
        name: "gitlab",
        mark: "GITLAB_CI",
        project: &["CI_PROJECT_PATH"],
        build: "CI_JOB_ID",
        job: "CI_JOB_NAME",
        branch: &["CI_COMMIT_REF_NAME"],
        revision: "CI_COMMIT_SHA",
    },
    Ci {
        name: "buildkite",
        mark: "BUILDKITE",
        project: &["BUILDKITE_PIPELINE_ID", "BUILDKITE_PIPELINE_SLUG"],
        build: "BUILDKITE_BUILD_NUMBER",
        job: "BUILDKITE_LABEL",
        branch: &["BUILDKITE_BRANCH"],
        revision: "BUILDKITE_COMMIT",
    },
    Ci {
        name: "woodpecker",
        mark: "CI_PIPELINE_NUMBER",
        project: &["CI_REPO"],
        build: "CI_PIPELINE_NUMBER",
        job: "CI_WORKFLOW_NAME",
        branch: &["CI_COMMIT_BRANCH"],
        revision: "CI_COMMIT_SHA",
    },
    Ci {
        name: "drone",
        mark: "DRONE",
        project: &["DRONE_REPO"],
        build: "DRONE_BUILD_NUMBER",
        job: "DRONE_STAGE_NAME",
        branch: &["DRONE_BRANCH"],
        revision: "DRONE_COMMIT",
    },
    Ci {
        name: "jenkins",
        mark: "JENKINS_URL",
        project: &["JOB_NAME"],
        build: "BUILD_NUMBER",
        job: "JOB_BASE_NAME",
        branch: &["BRANCH_NAME", "GIT_BRANCH"],
        revision: "GIT_COMMIT",
    },
];

impl Identity {
    /// Of this job; the project is `local` outside any CI. `LARDER_PROJECT` overrides the CI's, and
    /// `given` overrides both.
    pub fn new(env: Env<'_>, given: Option<&str>) -> Self {
        let set = |name: &str| env(name).filter(|value| !value.trim().is_empty());
        let first = |names: &[&str]| names.iter().find_map(|name| set(name));
        let ci = CIS.iter().find(|ci| set(ci.mark).is_some());
        let named = given.map(str::to_owned).or_else(|| set("LARDER_PROJECT"));
        let project = named.or_else(|| ci.and_then(|ci| first(ci.project)));
        let provenance = ci.map_or_else(Provenance::default, |ci| Provenance {
            ci: ci.name.to_owned(),
            build: set(ci.build).unwrap_or_default(),
            job: set(ci.job).unwrap_or_default(),
            branch: first(ci.branch).unwrap_or_default(),
            revision: set(ci.revision).unwrap_or_default(),
        });
        Self {
            project: project.map_or_else(Project::local, |name| project_name(&name)),
            provenance,
            checkout_key: set("CIRCLE_CHECKOUT_KEY")
                .or_else(|| set("CHECKOUT_KEY"))
                .unwrap_or_default(),
        }
    }
}

/// A name that is usable as it is stays; another one (`owner/repo`) becomes readable and distinct: what
/// is not allowed turns into `-`, and the beginning of the name's digest follows.
fn project_name(name: &str) -> Project {
    if let Ok(project) = name.parse() {
        return project;
    }
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let readable: String = name.chars().map(allowed).take(80).collect();
    let digest = Digest::of(name.as_bytes()).to_string();
    let text = format!("{}-{}", readable.trim_start_matches('.'), &digest[..16]);
    text.parse().expect("only allowed characters, and few of them")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(env: &[(&str, &str)], given: Option<&str>) -> Identity {
        let env = |name: &str| {
            env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        Identity::new(&env, given)
    }

    #[test]
    fn circleci_is_known_by_its_project_id() {
        let identity = identity(
            &[
                ("CIRCLECI", "true"),
                ("CIRCLE_PROJECT_ID", "0f9c1d3e-6a1b-4d2e-9b1c-000000000000"),
                ("CIRCLE_BUILD_NUM", "846"),
                ("CIRCLE_BRANCH", ""),
                ("CIRCLE_TAG", "v1.0"),
            ],
            None,
        );
        assert_eq!(identity.project.as_str(), "0f9c1d3e-6a1b-4d2e-9b1c-000000000000");
        assert_eq!(identity.provenance.build, "846");
        assert_eq!(identity.provenance.branch, "v1.0", "an empty variable is none");
    }

    #[test]
    fn names_of_repositories_become_distinct_projects() {
        let of = |name| {
            identity(&[("GITHUB_ACTIONS", "true"), ("GITHUB_REPOSITORY", name)], None).project
        };
        assert!(of("acme/app").as_str().starts_with("acme-app-"));
        assert_ne!(of("acme/app"), of("acme-app"));
        assert_ne!(of("acme/app"), of("acme//app"));
        assert!(of("..").as_str().len() > 10);
    }

    #[test]
    fn what_is_given_comes_first_and_outside_any_ci_it_is_local() {
        assert_eq!(identity(&[], None).project, Project::local());
        assert_eq!(identity(&[("LARDER_PROJECT", "a")], None).project.as_str(), "a");
        assert_eq!(identity(&[("LARDER_PROJECT", "a")], Some("b")).project.as_str(), "b");
    }
}
