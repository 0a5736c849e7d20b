"""The tables that every service has: idempotency records and error reports."""

from django.db import models


class IdempotencyRecord(models.Model):
    """What is known of an `Idempotency-Key`; written and read by `idempotency_store` alone."""

    key = models.CharField(max_length=64, primary_key=True)
    caller = models.CharField(max_length=64, default="", db_default="")
    fingerprint = models.CharField(max_length=64)
    owner = models.CharField(max_length=32)
    lease_until = models.FloatField()
    expires_at = models.FloatField()
    answer = models.TextField(null=True)

    class Meta:
        """How the table is called and found."""

        db_table = "idempotency_records"
        indexes = (
            models.Index(fields=["expires_at"], name="ix_idempotency_records_expires"),
            models.Index(fields=["caller"], name="ix_idempotency_records_caller"),
        )

    def __str__(self) -> str:
        return self.key


class ErrorReport(models.Model):
    """A fault, with how often and when it came; written by `error_reporter`."""

    fingerprint = models.CharField(max_length=32, primary_key=True)
    error_type = models.CharField(max_length=255)
    code = models.CharField(max_length=64)
    severity = models.CharField(max_length=16)
    message = models.TextField()
    occurrences = models.BigIntegerField()
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField()
    version = models.CharField(max_length=64)
    last_report = models.TextField()

    class Meta:
        """How the table is called, sorted and found."""

        db_table = "error_reports"
        ordering = ("-last_seen",)
        indexes = (models.Index(fields=["last_seen"], name="ix_error_reports_last_seen"),)

    def __str__(self) -> str:
        return f"{self.error_type}: {self.message}"
