"""The definitions, which are values, and the command that sends, starts and follows them: `python -m pipelines.run`.

To read a release from the command to SageMaker: `run` → `commands` → `sending` → `release` → `requests`.

- the definitions: `release`, `promotion`, `reaping`, made of `requests`, `layout` and `sdk`
- to SageMaker and back: `execution` and `sending`; `display`, `logs`, `outcome`, `following`
- what `run` calls: `commands` (release, follow, definition, ask, local), `changed`, `decisions` (approve, reject), `rollback`, `history`,
  `report`, `plan`, `status`, `doctor`, `environment`, `images`
- what these share: `subject` (a model by its name), `observed` (what AWS and the Hub know now), `commits`, `preflight`, `differences`,
  `prices`, `quotas`, `question`, `next_command`, `errors`; and what they print or look at: `plan_text`, `status_display`, `doctor_aws`,
  `doctor_local`
- this machine: `local`, `demo`
"""
