from django.contrib import admin

from .models import HeartBeat, Record, TaskRun, Upload

admin.site.register([HeartBeat, Record, TaskRun, Upload])
