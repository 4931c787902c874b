from django.db import models


class Tenant(models.Model):
    slug = models.CharField(max_length=20, unique=True)
    title = models.CharField(max_length=200)
    enabled = models.BooleanField(default=True)


class Thing(models.Model):
    made_at = models.DateTimeField(auto_now_add=True)
