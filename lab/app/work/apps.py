from django.apps import AppConfig


class WorkConfig(AppConfig):
    name = "work"
    verbose_name = "Records, tasks, uploads"

    def ready(self) -> None:
        from . import signals  # noqa: F401  (connects the receivers)
