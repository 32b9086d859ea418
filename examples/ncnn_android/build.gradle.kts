plugins {
    id("com.android.application") version "8.7.3"
    id("org.jetbrains.kotlin.android") version "2.0.21"
}

android {
    namespace = "org.mnv2mm"
    compileSdk = 35
    ndkVersion = "27.2.12479018"
    defaultConfig {
        applicationId = "org.mnv2mm"
        minSdk = 24
        targetSdk = 35
        ndk { abiFilters += "arm64-v8a" }
        externalNativeBuild {
            cmake {
                // gradle -Pncnn=FOLDER: ncnn's source
                val ncnn = project.findProperty("ncnn") ?: error("give -Pncnn=FOLDER, ncnn's source")
                arguments += "-DNCNN_DIR=$ncnn"
                targets += "mnv2_jni"
            }
        }
    }
    externalNativeBuild { cmake { path = file("src/main/cpp/CMakeLists.txt") } }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
    kotlinOptions { jvmTarget = "17" }
}

dependencies {
    implementation("androidx.activity:activity-ktx:1.9.3")
    implementation("androidx.camera:camera-camera2:1.4.1")
    implementation("androidx.camera:camera-lifecycle:1.4.1")
}
